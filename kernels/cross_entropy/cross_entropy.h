#pragma once
// Cross-entropy of softmax(logits) against a class, or against a weight for each class; one loss per row.
//
//   m[r] = max_c x[r,c]      den[r] = sum_c exp(x[r,c] - m[r])      nll[r,c] = log(den[r]) - (x[r,c] - m[r])
//   a class target[r]:       loss[r] = nll[r,target[r]], and 0 where target[r] is ignore_index
//   weights target[r,c]:     loss[r] = sum_c target[r,c] nll[r,c] over the classes whose weight is not 0
//
//   logits x (R,C) f32|bf16, rows may be strided    target (R) i32, or (R,C) f32|bf16 whose rows may be strided
//   loss (R) f32    max, den (R) f32: saved for backward
// Order: m is +0 where it is a zero; den is the canonical row sum of exp(x - m); the loss of weights that of fma terms
//   target * nll. One-hot weights give the bits of the class.
// backward: p = exp(x - m) / den; dlogits = dloss (p - [c = target]), 0 in ignored rows; for weights
//   dlogits = dloss fma(p, s, -target), s their canonical row sum. No gradient to target.
// A class that cannot occur has the logit -inf: p = 0, and a loss if the target is not. A row with a NaN or +inf gives
//   NaN (ignored rows: 0), as does one of -inf alone.
// Deterministic, independent of R. Throws if C == 0, or if a class is not in [0, C) and not ignore_index.
// Source: PyTorch's cross_entropy without reduction.

#include "kernels/core/op.h"
#include "kernels/core/row_blocks.h"

namespace dr {

struct CrossEntropy {
  static constexpr std::string_view name = "cross_entropy";
  int32_t ignore_index = -100;

  struct In { View logits, target; static constexpr auto names = fields("logits", "target"); };
  struct Out { View loss, max, den; static constexpr auto names = fields("loss", "max", "den"); };
  struct OutGrad { View loss; static constexpr auto names = fields("loss"); };
  struct Grad { View logits; static constexpr auto names = fields("logits"); };

  Shapes infer(const In& in) const {
    CHECK(in.logits.rank() == 2 && in.logits.size(1) > 0, "cross_entropy: logits must be (R,C) with C > 0, got {}",
          to_string(in.logits));
    expect_float(in.logits, "cross_entropy: logits");
    if (is_floating(in.target.dtype)) {
      expect_sizes(in.target, in.logits.sizes, "cross_entropy: a target of weights");
    } else {
      CHECK(in.target.dtype == DType::i32, "cross_entropy: target must be i32 classes or floating weights, got {}",
            to_string(in.target));
      expect_sizes(in.target, {in.logits.size(0)}, "cross_entropy: a target of classes");
    }
    const TensorSpec rows{DType::f32, {in.logits.size(0)}};
    return {rows, rows, rows};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // p carries x - m, at most 16 u with these logits, and den's row sum; then a quotient, a difference and a product.
  // Where p is close to its target a sixteenth of the mean stands in for the difference.
  double gradient_k(const In& in) const { return 16 * (row_depth(in.logits.size(1)) + 6) + 16; }
  Cost cost(const In& in) const { return traffic(4.0 * double(in.logits.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {
    const Cost c = traffic(5.0 * double(in.logits.count()), in, infer(in));  // reads logits, target, dloss, max, den
    return {c.flops, c.bytes_read + c.bytes_written, double(in.logits.bytes())};
  }

  static std::vector<Case<CrossEntropy>> cases() {
    auto classes = [&](int64_t r, int64_t c, DType t, int samples, int64_t pad = 0, bool bench = false) {
      return Case<CrossEntropy>({}, {.name = format("R={},C={},{}{}", r, c, name_of(t), pad ? ",strided" : ""),
                                     .in = {normal({r, c}, 0.5, 2).as(t).padded(pad), integers({r}, 0, c - 1)},
                                     .samples = samples,
                                     .bench = bench});
    };
    auto weights = [&](int64_t r, int64_t c, DType t, DType target, int samples, int64_t pad = 0, bool bench = false) {
      return Case<CrossEntropy>(
          {}, {.name = format("weights,R={},C={},{},target={}{}", r, c, name_of(t), name_of(target),
                              pad ? ",strided" : ""),
               .in = {normal({r, c}, 0.5, 2).as(t).padded(pad),
                      uniform({r, c}, 0, 2 / double(c)).as(target).padded(pad)},
               .samples = samples,
               .bench = bench});
    };
    std::vector<Case<CrossEntropy>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(classes(7, 5, t, 7));
      list.push_back(classes(5, 33, t, 5));
      list.push_back(classes(6, 31, t, 3, 5));
      list.push_back(classes(4, 255, t, 2));
      list.push_back(weights(5, 33, t, t, 5));
      list.push_back(weights(3, 7, t, t == DType::f32 ? DType::bf16 : DType::f32, 3, 2));
    }
    list.push_back(classes(2, 5000, DType::f32, 2));
    list.push_back(classes(0, 8, DType::f32, 1));
    list.push_back(Case<CrossEntropy>({.ignore_index = -1}, {.name = "R=12,C=7,f32,ignore",
                                                             .in = {normal({12, 7}), integers({12}, -1, 6)},
                                                             .samples = 12}));
    Case<CrossEntropy> one = classes(3, 1, DType::f32, 3);  // the loss of one class is 0, and so is its gradient
    one.gradient = false;
    list.push_back(one);
    // The maximum is far above the others: central differences over steps of 2^-17 x straddle the change of maximum.
    list.push_back(Case<CrossEntropy>({}, {.name = "adversarial",
                                           .in = {adversarial({6, 40}), integers({6}, 0, 39)},
                                           .samples = 6,
                                           .gradient = false}));
    list.push_back(Case<CrossEntropy>({}, {.name = "weights,adversarial",
                                           .in = {adversarial({6, 40}), adversarial({6, 40})},
                                           .samples = 6,
                                           .gradient = false}));
    const double inf = std::numeric_limits<double>::infinity();
    list.push_back(Case<CrossEntropy>({}, {.name = "impossible classes",
                                           .in = {values({3, 4}, {-inf, 1, 2, -inf, 0.5, -1}), integers({3}, 0, 3)},
                                           .samples = 3,
                                           .gradient = false}));
    list.push_back(classes(16384, 255, DType::f32, 1, 0, true));
    list.push_back(classes(65536, 39, DType::f32, 1, 0, true));
    list.push_back(weights(16384, 255, DType::f32, DType::f32, 1, 0, true));
    return list;
  }
};

}  // namespace dr
