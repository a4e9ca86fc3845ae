#pragma once
// Cross-entropy of softmax(logits) against a number, spread over the two bins that enclose it; one loss per row.
//
//   bins[i] <= target < bins[i+1]: weight (target - bins[i]) / (bins[i+1] - bins[i]) on bin i+1, the rest on bin i;
//   all on the first or last bin for a target beyond them
//   loss[r] = sum of the two weights times nll[r,bin],   nll as in cross_entropy
//
//   The bins are what two_hot_mean averages: DreamerV3's lie at symexp(linspace(-20, 20)), see symexp_bins below, and
//   its target is the number itself. For bins in symlog space give linear bins and symlog(target).
//   logits (R,C) f32|bf16, rows may be strided    target (R) f32    bins (C) f32, strictly ascending, shared
//   loss (R) f32    max, den (R) f32: saved for backward
// Order: w = (target - bins[i]) / (bins[i+1] - bins[i]) held to [0, 1] for bin i+1, 1 - w for bin i, which add up to 1
//   in f32 as well. The loss is a sum of two products, a weight of 0 passing over its bin. The rest is as in
//   cross_entropy, whose bits it has for a target of these weights.
// backward: dlogits = dloss (p - weight). No gradient to target and bins.
// A target that is NaN gives NaN. Deterministic, independent of R. Throws if C < 2 or bins do not ascend.
// Source: Hafner et al. 2023, arXiv:2301.04104, and its code (embodied/jax/outs.py, TwoHot.loss).

#include "kernels/core/op.h"
#include "kernels/core/row_blocks.h"
#include "kernels/two_hot_cross_entropy/symexp_bins.h"

namespace dr {

struct TwoHotCrossEntropy {
  static constexpr std::string_view name = "two_hot_cross_entropy";

  struct In {
    View logits, target, bins;
    static constexpr auto names = fields("logits", "target", "bins");
    static constexpr auto shared = fields("bins");
  };
  struct Out { View loss, max, den; static constexpr auto names = fields("loss", "max", "den"); };
  struct OutGrad { View loss; static constexpr auto names = fields("loss"); };
  struct Grad { View logits; static constexpr auto names = fields("logits"); };

  Shapes infer(const In& in) const {
    CHECK(in.logits.rank() == 2 && in.logits.size(1) > 1,
          "two_hot_cross_entropy: logits must be (R,C) with at least two bins, got {}", to_string(in.logits));
    expect_float(in.logits, "two_hot_cross_entropy: logits");
    const TensorSpec rows{DType::f32, {in.logits.size(0)}};
    expect_f32(in.target, rows.sizes, "two_hot_cross_entropy: target");
    expect_f32(in.bins, {in.logits.size(1)}, "two_hot_cross_entropy: bins");
    return {rows, rows, rows};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // As cross_entropy's, and a weight that is off by 4 u.
  double gradient_k(const In& in) const { return 16 * (row_depth(in.logits.size(1)) + 10) + 16; }
  Cost cost(const In& in) const { return traffic(4.0 * double(in.logits.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {
    const Cost c = traffic(5.0 * double(in.logits.count()), in, infer(in));  // reads the inputs, dloss, max, den
    return {c.flops, c.bytes_read + c.bytes_written, double(in.logits.bytes())};
  }

  static std::vector<Case<TwoHotCrossEntropy>> cases() {
    auto make = [](int64_t r, int c, DType t, int samples, int64_t pad = 0, bool bench = false) {
      return Case<TwoHotCrossEntropy>({}, {.name = format("R={},C={},{}{}", r, c, name_of(t), pad ? ",strided" : ""),
                                           .in = {normal({r, c}, 0.5, 2).as(t).padded(pad), normal({r}, 0, 4),
                                                  symexp_input(c, c > 100 ? 20 : 3)},
                                           .samples = samples,
                                           .bench = bench});
    };
    std::vector<Case<TwoHotCrossEntropy>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make(7, 5, t, 7));
      list.push_back(make(5, 33, t, 5));
      list.push_back(make(6, 31, t, 3, 5));
      list.push_back(make(4, 255, t, 2));
    }
    list.push_back(make(2, 5001, DType::f32, 2));
    list.push_back(make(0, 7, DType::f32, 1));
    list.push_back(Case<TwoHotCrossEntropy>({}, {.name = "two bins",
                                                 .in = {normal({6, 2}), normal({6}), values({2}, {-0.5, 0.75})},
                                                 .samples = 6}));
    // On a bin, between bins, at and beyond the ends, and in the bins beside 0.
    const double inf = std::numeric_limits<double>::infinity();
    list.push_back(Case<TwoHotCrossEntropy>(
        {}, {.name = "edges",
             .in = {normal({12, 7}), values({12}, {-9, -4, -3.5, 0.0, -0.0, 1, 1.5, 4, 5, 1e30, inf, -inf}),
                    values({7}, {-4, -2, -1, 0, 1, 2, 4})},
             .samples = 12}));
    list.push_back(Case<TwoHotCrossEntropy>(
        {}, {.name = "adversarial", .in = {adversarial({6, 33}), adversarial({6}), symexp_input(33, 20)}, .samples = 6,
             .gradient = false}));  // steps of 2^-17 x straddle the change of maximum
    list.push_back(make(16384, 255, DType::f32, 1, 0, true));
    return list;
  }
};

}  // namespace dr
