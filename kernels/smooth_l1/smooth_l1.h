#pragma once
// Smooth L1 loss, summed per row: quadratic within beta of the target, linear beyond. For squared errors see flow_loss.
//
//   loss[r] = sum_i weight[r,i] f(pred[r,i] - target[r,i]),   f(d) = d^2 / (2 beta) if |d| < beta, else |d| - beta/2
//   beta = 0: f(d) = |d|. Huber's loss is beta f.
//
//   pred, target (R, ...) f32|bf16 each, packed but for axis 0, which may be strided
//   weight like pred, f32, or absent: 1; it may be one row for all (a stride of 0), and 0 passes over its element,
//     whatever that holds
//   loss (R) f32
// Order: d = pred - target, (d d) (0.5 / beta) or |d| - 0.5 beta; canonical row sum of the terms, by fma with weights.
//   A sum, not a mean: one scale by 1 / global count is applied at the end of the step.
// backward: dpred = (dloss weight) f'(d), f' = d (1 / beta) or the sign of d, 0 at 0. No gradient to target and weight.
// A NaN stays a NaN. Deterministic, independent of R. Throws if beta < 0, or if the shapes differ.
// Source: PyTorch's smooth_l1_loss without reduction; Girshick 2015, arXiv:1504.08083.

#include "kernels/core/op.h"
#include "kernels/core/row_blocks.h"

namespace dr {

struct SmoothL1 {
  static constexpr std::string_view name = "smooth_l1";
  float beta = 1;

  struct In { View pred, target, weight; static constexpr auto names = fields("pred", "target", "weight"); };
  struct Out { View loss; static constexpr auto names = fields("loss"); };
  struct OutGrad { View loss; static constexpr auto names = fields("loss"); };
  struct Grad { View pred; static constexpr auto names = fields("pred"); };

  Shapes infer(const In& in) const {
    CHECK(beta >= 0, "smooth_l1: beta must not be negative, got {}", beta);
    CHECK(in.pred.rank() >= 1, "smooth_l1: pred must have rows along axis 0, got {}", to_string(in.pred));
    expect_float(in.pred, "smooth_l1: pred");
    expect_float(in.target, "smooth_l1: target");
    expect_sizes(in.target, in.pred.sizes, "smooth_l1: target");
    if (in.weight) expect_f32(in.weight, in.pred.sizes, "smooth_l1: weight");
    CHECK(in.pred.packed(1) && in.target.packed(1) && in.weight.packed(1),
          "smooth_l1: pred, target and weight must be packed but for axis 0");
    return {{DType::f32, {in.pred.size(0)}}};
  }
  size_t scratch_bytes(const In& in, int) const { return RowBlocks(in.pred).scratch_bytes(); }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // d, 1 / beta and their product, dloss weight, and the last product round once each.
  double gradient_k(const In&) const { return 6; }
  Cost cost(const In& in) const { return traffic((in.weight ? 6.0 : 5.0) * double(in.pred.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {
    const Cost c = traffic(4.0 * double(in.pred.count()), in, infer(in));  // reads the inputs and dloss
    return {c.flops, c.bytes_read + c.bytes_written, double(in.pred.bytes())};
  }

  static std::vector<Case<SmoothL1>> cases() {
    auto make = [&](float beta, Sizes s, DType p, DType t, bool weighted, int samples, int64_t pad = 0,
                    bool bench = false) {
      return Case<SmoothL1>({beta}, {.name = format("beta={},{},pred={},target={}{}{}", beta, to_string(s), name_of(p),
                                                    name_of(t), weighted ? ",weighted" : "", pad ? ",strided" : ""),
                                     .in = {normal(s).as(p).padded(pad), normal(s, 0.3, 1.4).as(t).padded(pad),
                                            weighted ? uniform(s, 0.1, 2).padded(pad) : absent()},
                                     .samples = samples,
                                     .bench = bench});
    };
    std::vector<Case<SmoothL1>> list;
    for (DType p : {DType::f32, DType::bf16})
      for (DType t : {DType::f32, DType::bf16}) {
        list.push_back(make(1, {5, 33}, p, t, p == t, 5));
        list.push_back(make(0.1f, {6, 31}, p, t, p != t, 3, 7));
      }
    list.push_back(make(0, {4, 7}, DType::f32, DType::f32, false, 4));
    list.push_back(make(1, {2, 3, 7, 5}, DType::f32, DType::f32, true, 2));
    list.push_back(make(1, {3, 8193}, DType::f32, DType::f32, true, 3));  // three blocks, the last of one element
    list.push_back(make(1, {7, 1}, DType::f32, DType::f32, true, 7));
    list.push_back(make(1, {0, 8}, DType::f32, DType::f32, false, 1));
    list.push_back(make(1, {3, 0}, DType::f32, DType::f32, true, 1));
    // Some elements are masked, and those hold what must not be seen.
    const double nan = std::numeric_limits<double>::quiet_NaN();
    list.push_back(Case<SmoothL1>({}, {.name = "masked NaN",
                                       .in = {normal({4, 6}), values({4, 6}, {0.5, nan, -2}),
                                              values({4, 6}, {1, 0, 1})},
                                       .samples = 4}));
    list.push_back(Case<SmoothL1>(
        {}, {.name = "adversarial", .in = {adversarial({6, 40}), adversarial({6, 40}), adversarial({6, 40})},
             .samples = 3}));
    list.push_back(make(1, {64, 16384}, DType::f32, DType::f32, false, 1, 0, true));
    list.push_back(make(1, {4096, 495}, DType::f32, DType::f32, true, 1, 0, true));
    return list;
  }
};

}  // namespace dr
