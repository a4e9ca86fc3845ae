#pragma once
// What attention's queries and keys go through: root-mean-square normalisation of each head, then rotary embedding.
//
//   n[..,d] = x[..,d] * rstd * weight[d],   rstd = rsqrt(sum_d x[..,d]^2 / D + eps)      x = q, k, each with its weight
//   y = rotary(n)  (kernels/rotary/rotary.h: half split), or n itself where there are no tables
//
//   q, k (B,L,H,D) f32|bf16, all alike, any strides on the first three axes, so slices of a fused (B,L,3,H,D) will do;
//     1 <= D <= 256    q_weight, k_weight (D) f32, either may be absent (1)
//   cos, sin (B,L,D/2) f32: the tables of rotary_table, both or neither; any strides on the first two axes
//   outputs q, k like their inputs, packed    q_rstd, k_rstd (B,L,H) f32: saved for backward
// Order: that of RmsNorm over the B L H rows, then of Rotary, with one rounding at the end. With f32 tensors the bits
//   are those of the two in turn.
// backward: that of Rotary, then of RmsNorm; per leaf, dweight is an fma chain over its rows in the order (b, l, h).
// Deterministic; all but the gradients of the weights is independent of B. Throws if shapes do not fit together.
// Source: RMSNorm: Zhang & Sennrich 2019, arXiv:1910.07467; of queries and keys: Dehghani et al. 2023,
//   arXiv:2302.05442, section 2; rotary embedding: Su et al. 2021, arXiv:2104.09864.

#include "kernels/core/row_groups.h"
#include "kernels/rotary/rotary.h"

namespace dr {

struct QkNormRotary {
  static constexpr std::string_view name = "qk_norm_rotary";
  static constexpr int64_t kMaxWidth = 256;
  float eps = 1e-5f;

  struct In {
    View q, k, q_weight, k_weight, cos, sin;
    static constexpr auto names = fields("q", "k", "q_weight", "k_weight", "cos", "sin");
    static constexpr auto shared = fields("q_weight", "k_weight");
  };
  struct Out { View q, k, q_rstd, k_rstd; static constexpr auto names = fields("q", "k", "q_rstd", "k_rstd"); };
  struct OutGrad { View q, k; static constexpr auto names = fields("q", "k"); };
  struct Grad {
    View q, k, q_weight, k_weight;
    static constexpr auto names = fields("q", "k", "q_weight", "k_weight");
  };

  Shapes infer(const In& in) const {
    CHECK(in.q.rank() == 4 && in.q.size(3) >= 1 && in.q.size(3) <= kMaxWidth,
          "qk_norm_rotary: q must be (B,L,H,D) with 1 <= D <= {}, got {}", kMaxWidth, to_string(in.q));
    expect_float(in.q, "qk_norm_rotary: q");
    expect_sizes(in.k, in.q.sizes, "qk_norm_rotary: k");
    CHECK(in.k.dtype == in.q.dtype, "qk_norm_rotary: q and k must have one type, got {} and {}", name_of(in.q.dtype),
          name_of(in.k.dtype));
    if (in.q_weight) expect_f32(in.q_weight, {in.q.size(3)}, "qk_norm_rotary: q_weight");
    if (in.k_weight) expect_f32(in.k_weight, {in.q.size(3)}, "qk_norm_rotary: k_weight");
    if (in.cos || in.sin) expect_rotary_tables(in.q, in.cos, in.sin, name);
    const TensorSpec x{in.q.dtype, in.q.sizes}, rstd{DType::f32, {in.q.size(0), in.q.size(1), in.q.size(2)}};
    return {x, x, rstd, rstd};
  }
  // Chunk sums of the leaves' rows: one leaf needs the most.
  size_t scratch_bytes(const In& in, int) const { return groups(in, 1).scratch_bytes(2); }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  static RowGroups groups(const In& in, int leaves) {
    return {leaves, in.q.size(0) * in.q.size(1) * in.q.size(2), in.q.size(3)};
  }
  // As RmsNorm, of gradients that have been through a rotation.
  double gradient_k(const In& in) const {
    return 28 + 3.0 * double((in.q.size(3) + 31) / 32 + std::min<int64_t>(groups(in, 1).rows, 520));
  }
  double flops(const In& in, double norm) const { return 2 * double(in.q.count()) * (norm + (in.cos ? 3 : 0)); }
  Cost cost(const In& in) const { return traffic(flops(in, 5), in, infer(in)); }
  Cost backward_cost(const In& in) const { return backward_traffic(flops(in, 11), in, infer(in)); }

  static std::vector<Case<QkNormRotary>> cases() {
    struct Options { bool weights = true, tables = true; int64_t pad = 0; bool bench = false; };
    auto make = [](Sizes x, DType t, Options o) {
      const Sizes table{x[0], x[1], x[3] / 2};
      const Input heads = normal(x, 0.3, 2).as(t).padded(o.pad), weight = o.weights ? normal({x[3]}, 1, 0.5) : absent();
      const Input angle = o.tables ? uniform(table, -1, 1).padded(o.pad) : absent();
      return Case<QkNormRotary>({}, {.name = format("B={},L={},H={},D={},{}{}{}{}", x[0], x[1], x[2], x[3], name_of(t),
                                                    o.weights ? "" : ",no weight", o.tables ? "" : ",no tables",
                                                    o.pad ? ",strided" : ""),
                                     .in = {heads, heads, weight, weight, angle, angle},
                                     .samples = int(std::max<int64_t>(x[0], 1)),
                                     .bench = o.bench});
    };
    std::vector<Case<QkNormRotary>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make({2, 5, 3, 64}, t, {}));
      list.push_back(make({3, 7, 1, 66}, t, {.pad = 3}));
      list.push_back(make({1, 5, 2, 10}, t, {.weights = false}));
      list.push_back(make({2, 3, 5, 33}, t, {.tables = false}));
    }
    list.push_back(make({1, 65, 17, 4}, DType::f32, {}));  // three chunks of rows
    list.push_back(make({1, 2, 1, 256}, DType::f32, {}));
    list.push_back(make({0, 5, 2, 4}, DType::f32, {}));
    list.back().gradient = false;
    list.push_back(Case<QkNormRotary>(
        {}, {.name = "adversarial",
             .in = {adversarial({2, 6, 2, 40}), adversarial({2, 6, 2, 40}), normal({40}), normal({40}),
                    uniform({2, 6, 20}, -1, 1), uniform({2, 6, 20}, -1, 1)},
             .samples = 2}));
    list.push_back(make({1, 1920, 12, 64}, DType::f32, {.bench = true}));
    list.push_back(make({8, 1920, 12, 64}, DType::bf16, {.bench = true}));
    return list;
  }
};

}  // namespace dr
