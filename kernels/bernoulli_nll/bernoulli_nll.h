#pragma once
// Negative log-likelihood of Bernoulli variables given as logits (binary cross-entropy), summed per row.
//
//   loss[r] = sum_i weight[r,i] nll(x, t),   nll(x, t) = max(x, 0) - t x + log(1 + exp(-|x|)),   t in [0, 1]
//   = -t log(sigmoid(x)) - (1 - t) log(1 - sigmoid(x))
//
//   logits x, target t (R, ...) f32|bf16 each, packed but for axis 0, which may be strided
//   weight like x, f32, or absent: 1; it may be one row for all (a stride of 0), and 0 passes over its element,
//     whatever that holds
//   loss (R) f32
// Order: fma(-t, x, max(x, 0)) + log1p(exp(-|x|)), no step of which overflows or cancels where x is finite; canonical
//   row sum of the terms, by fma with weights. A sum, not a mean: one scale by 1 / global count ends the step.
// backward: dx = (dloss weight) (sigmoid(x) - t), sigmoid as in core/sigmoid.h. No gradient to target and weight.
// A NaN stays a NaN. Deterministic, independent of R. Throws if the shapes differ; t is not checked.
// Source: PyTorch's binary_cross_entropy_with_logits without reduction.

#include "kernels/core/op.h"
#include "kernels/core/row_blocks.h"

namespace dr {

struct BernoulliNll {
  static constexpr std::string_view name = "bernoulli_nll";

  struct In { View logits, target, weight; static constexpr auto names = fields("logits", "target", "weight"); };
  struct Out { View loss; static constexpr auto names = fields("loss"); };
  struct OutGrad { View loss; static constexpr auto names = fields("loss"); };
  struct Grad { View logits; static constexpr auto names = fields("logits"); };

  Shapes infer(const In& in) const {
    CHECK(in.logits.rank() >= 1, "bernoulli_nll: logits must have rows along axis 0, got {}", to_string(in.logits));
    expect_float(in.logits, "bernoulli_nll: logits");
    expect_float(in.target, "bernoulli_nll: target");
    expect_sizes(in.target, in.logits.sizes, "bernoulli_nll: target");
    if (in.weight) expect_f32(in.weight, in.logits.sizes, "bernoulli_nll: weight");
    CHECK(in.logits.packed(1) && in.target.packed(1) && in.weight.packed(1),
          "bernoulli_nll: logits, target and weight must be packed but for axis 0");
    return {{DType::f32, {in.logits.size(0)}}};
  }
  size_t scratch_bytes(const In& in, int) const { return RowBlocks(in.logits).scratch_bytes(); }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // sigmoid is off by 3 u, then come a difference and two products. Where it is close to its target, a sixteenth of the
  // tensor's mean, about 1/4, stands in for the difference.
  double gradient_k(const In&) const { return 3 * 16 * 4 + 3; }
  Cost cost(const In& in) const { return traffic(6.0 * double(in.logits.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {
    const Cost c = traffic(6.0 * double(in.logits.count()), in, infer(in));  // reads the inputs and dloss
    return {c.flops, c.bytes_read + c.bytes_written, double(in.logits.bytes())};
  }

  static std::vector<Case<BernoulliNll>> cases() {
    auto make = [&](Sizes s, DType x, DType t, bool weighted, int samples, int64_t pad = 0, bool bench = false) {
      return Case<BernoulliNll>({}, {.name = format("{},logits={},target={}{}{}", to_string(s), name_of(x), name_of(t),
                                                    weighted ? ",weighted" : "", pad ? ",strided" : ""),
                                     .in = {normal(s, 0, 2).as(x).padded(pad), uniform(s, 0, 1).as(t).padded(pad),
                                            weighted ? uniform(s, 0.1, 2).padded(pad) : absent()},
                                     .samples = samples,
                                     .bench = bench});
    };
    std::vector<Case<BernoulliNll>> list;
    for (DType x : {DType::f32, DType::bf16})
      for (DType t : {DType::f32, DType::bf16}) {
        list.push_back(make({5, 33}, x, t, x == t, 5));
        list.push_back(make({6, 31}, x, t, x != t, 3, 7));
      }
    list.push_back(make({2, 3, 7, 5}, DType::f32, DType::f32, true, 2));
    list.push_back(make({3, 8193}, DType::f32, DType::f32, false, 3));
    list.push_back(make({7, 1}, DType::f32, DType::f32, false, 7));
    list.push_back(make({0, 8}, DType::f32, DType::f32, false, 1));
    list.push_back(make({3, 0}, DType::f32, DType::f32, true, 1));
    const double nan = std::numeric_limits<double>::quiet_NaN();
    list.push_back(Case<BernoulliNll>({}, {.name = "masked NaN",
                                           .in = {normal({4, 6}), values({4, 6}, {0, nan, 1, 1}),
                                                  values({4, 6}, {1, 0, 1, 0.5})},
                                           .samples = 4}));
    list.push_back(Case<BernoulliNll>({}, {.name = "edges",
                                           .in = {values({4, 9}, {0.0, -0.0, 3e38, -3e38, 90, -90, 104, -104, nan}),
                                                  values({4, 9}, {0, 1}), values({4, 9}, {1, 1, 1, 1, 1, 1, 1, 1, 0})},
                                           .samples = 4,
                                           .gradient = false}));  // the steps at 3e38 overflow
    list.push_back(Case<BernoulliNll>({}, {.name = "adversarial",
                                           .in = {adversarial({6, 40}), uniform({6, 40}, 0, 1), adversarial({6, 40})},
                                           .samples = 3,
                                           .gradient = false}));  // steps of 2^-17 x leave the bend
    list.push_back(make({65536, 1}, DType::f32, DType::f32, false, 1, 0, true));
    list.push_back(make({16, 704512}, DType::f32, DType::f32, false, 1, 0, true));
    return list;
  }
};

}  // namespace dr
