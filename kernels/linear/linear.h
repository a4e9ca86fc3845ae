#pragma once
// Linear layer.
//
//   y[r,n] = sum_k x[r,k] weight[n,k] + bias[n]
//
//   x (..,K) f32|bf16, R rows    weight (N,K) f32|bf16    bias (N) of weight's type, may be absent
//   y (..,N) like x, packed
//   Last axes contiguous. The rows of x may be strided, evenly: its leading axes are taken as one axis of R rows.
// Order: canonical GEMM along K, then one addition of the bias; rounded once to y.
// backward: dx = dy weight (GEMM along N). Per leaf, over its R / leaves rows: dweight = dy^T x (GEMM along the rows),
//   dbias = column sum of dy (chunks of 512 rows, a chain of additions from +0 inside, chunk sums in ascending order).
// Deterministic; y and dx are independent of R and of leaves. Throws if the shapes do not fit together.

#include <cmath>

#include "kernels/core/chain_depth.h"
#include "kernels/core/gemm_scratch.h"
#include "kernels/core/op.h"

namespace dr {

// A tensor as a matrix of its last axis: `count` rows, `stride` elements apart.
struct FlatRows {
  int64_t count = 1, stride = 0;
};
inline FlatRows flat_rows(const View& v, std::string_view what) {
  FlatRows rows;
  for (int axis = v.rank() - 2; axis >= 0; axis--) {
    if (v.size(axis) == 1) continue;
    if (rows.count == 1) rows.stride = v.stride(axis);
    else if (rows.count > 0)
      CHECK(v.stride(axis) == rows.stride * rows.count, "{}: the rows of {} are not evenly spaced", what, to_string(v));
    rows.count *= v.size(axis);
  }
  return rows;
}

// What linear layers with and without an epilogue share of their contract; returns the sizes of the product.
inline Sizes linear_sizes(const View& x, const View& weight, const View& bias, std::string_view op) {
  CHECK(x.rank() >= 2, "{}: x must be (..,K), got {}", op, to_string(x));
  CHECK(weight.rank() == 2, "{}: weight must be (N,K), got {}", op, to_string(weight));
  CHECK(weight.size(1) == x.size(x.rank() - 1), "{}: x {} has K={}, weight {} has K={}", op, to_string(x),
        x.size(x.rank() - 1), to_string(weight), weight.size(1));
  CHECK(is_floating(x.dtype) && is_floating(weight.dtype), "{}: x and weight must be f32 or bf16, got {} and {}", op,
        to_string(x), to_string(weight));
  if (bias)
    CHECK(bias.sizes == Sizes{weight.size(0)} && bias.dtype == weight.dtype,
          "{}: bias must be {}({}) as weight is, got {}", op, name_of(weight.dtype), weight.size(0), to_string(bias));
  flat_rows(x, op);
  Sizes y = x.sizes;
  y[y.rank - 1] = weight.size(0);
  return y;
}

// What the products of a linear layer of `rows` rows and its gradients need on a device.
inline size_t linear_device_scratch(int64_t rows, const View& weight) {
  const int64_t n = weight.size(0), k = weight.size(1);
  return std::max({gemm_scratch_bytes(rows * n, k), gemm_scratch_bytes(rows * k, n), gemm_scratch_bytes(n * k, rows),
                   size_t(RowGroups(1, rows, n).chunks() * n) * sizeof(float)});
}

struct Linear {
  static constexpr std::string_view name = "linear";

  struct In {
    View x, weight, bias;
    static constexpr auto names = fields("x", "weight", "bias");
    static constexpr auto shared = fields("weight", "bias");
  };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x, weight, bias; static constexpr auto names = fields("x", "weight", "bias"); };

  Shapes infer(const In& in) const { return {{in.x.dtype, linear_sizes(in.x, in.weight, in.bias, name)}}; }
  size_t scratch_bytes(const In&, int) const { return 0; }
  size_t device_scratch_bytes(const In& in) const {
    return linear_device_scratch(flat_rows(in.x, name).count, in.weight);
  }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // A gradient is one product along N, or one along the rows.
  double gradient_k(const In& in) const {
    return std::max(chain_depth(in.weight.size(0)), chain_depth(flat_rows(in.x, name).count));
  }
  static double multiply_adds(const In& in) { return double(in.x.count()) * double(in.weight.size(0)); }
  Cost cost(const In& in) const { return traffic(2 * multiply_adds(in), in, infer(in)); }
  Cost backward_cost(const In& in) const { return backward_traffic(4 * multiply_adds(in), in, infer(in)); }

  static std::vector<Case<Linear>> cases() {
    auto make = [](Sizes rows, int64_t n, int64_t k, int samples, DType x = DType::f32, DType w = DType::f32,
                   bool bias = true, int64_t pad = 0) {
      Sizes xs = rows;
      xs.d[xs.rank++] = k;
      std::string id = format("R={},N={},K={}", rows.count(), n, k);
      if (x != DType::f32 || w != DType::f32) id += format(",{}x{}", name_of(x), name_of(w));
      if (rows.rank > 1) id += ",rank=" + std::to_string(rows.rank + 1);
      if (!bias) id += ",no_bias";
      if (pad) id += ",strided";
      const double deviation = 1 / std::sqrt(double(std::max<int64_t>(k, 1)));
      return Case<Linear>({}, {.name = id,
                               .in = {normal(xs, 0.1).as(x).padded(pad), normal({n, k}, 0, deviation).as(w).padded(pad),
                                      bias ? normal({n}).as(w) : absent()},
                               .samples = samples});
    };
    std::vector<Case<Linear>> list;
    list.push_back(make({32}, 50, 40, 4));
    list.push_back(make({33}, 33, 33, 3, DType::bf16, DType::f32, true, 3));
    list.push_back(make({10}, 65, 31, 2, DType::bf16, DType::bf16));
    list.push_back(make({4, 3, 5}, 17, 48, 4, DType::f32, DType::bf16, false, 1));
    list.push_back(make({6}, 7, 1100, 2));
    list.push_back(make({14}, 33, 600, 2, DType::bf16));
    list.push_back(make({1300}, 5, 3, 2));        // leaves of two chunks
    list.push_back(make({7}, 600, 31, 7, DType::f32, DType::f32, false));
    for (int64_t s : {1, 5, 7, 31, 33}) list.push_back(make({s}, s, s, int(s)));
    for (auto [r, n, k] : {std::array<int64_t, 3>{0, 5, 7}, {5, 0, 7}, {5, 7, 0}}) {
      list.push_back(make({r}, n, k, 1));
      list.back().gradient = false;  // every gradient that is not empty is zero, but for the bias of K = 0
    }
    list.push_back(Case<Linear>({}, {.name = "adversarial",
                                     .in = {adversarial({8, 530}), adversarial({19, 530}), adversarial({19})},
                                     .samples = 2}));
    for (auto [r, n, k] :
         {std::array<int64_t, 3>{1920, 768, 768}, {1920, 3072, 768}, {1920, 768, 3072}, {512, 512, 512}}) {
      list.push_back(make({r}, n, k, 1));
      list.back().bench = true;
    }
    list.push_back(make({1920}, 3072, 768, 1, DType::bf16, DType::bf16));
    list.back().bench = true;
    list.push_back(make({8}, 768, 768, 1));
    list.back().bench = true;
    return list;
  }
};

}  // namespace dr
