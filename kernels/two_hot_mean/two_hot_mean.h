#pragma once
// The mean of a distribution over bins: what a head trained with two_hot_cross_entropy predicts.
//
//   mean[r] = sum_c p[r,c] bins[c],   p = softmax(logits)
//
//   logits x (R,C) f32|bf16, rows may be strided    bins (C) f32, shared
//   mean (R) f32    max, den (R) f32: saved for backward, as in cross_entropy
// Order: bins pair up from the ends inwards, so that opposite numbers cancel: with e = exp(x - max) and h = C/2 rounded
//   down, pair[c] = e[c] bins[c] + e[C-1-c] bins[C-1-c], three roundings; mean = (canonical row sum of h pairs
//   + e bins of the middle where C is odd) / den. A symmetric distribution over symmetric bins, such as that of a
//   network that starts with zeros, has the mean 0 exactly; a mirrored one the negative mean, but for den's rounding.
// backward: dlogits = (dmean p) (bins - mean). No gradient to bins.
// Deterministic, independent of R. Throws if C == 0.
// Source: Hafner et al. 2023, arXiv:2301.04104, and its code (embodied/jax/outs.py, TwoHot.pred), which pairs bins too,
//   but divides by den before the sum.

#include "kernels/core/op.h"
#include "kernels/core/row_blocks.h"
#include "kernels/two_hot_cross_entropy/symexp_bins.h"

namespace dr {

struct TwoHotMean {
  static constexpr std::string_view name = "two_hot_mean";

  struct In {
    View logits, bins;
    static constexpr auto names = fields("logits", "bins");
    static constexpr auto shared = fields("bins");
  };
  struct Out { View mean, max, den; static constexpr auto names = fields("mean", "max", "den"), saved = names; };
  struct OutGrad { View mean; static constexpr auto names = fields("mean"); };
  struct Grad { View logits; static constexpr auto names = fields("logits"); };

  Shapes infer(const In& in) const {
    CHECK(in.logits.rank() == 2 && in.logits.size(1) > 0, "two_hot_mean: logits must be (R,C) with C > 0, got {}",
          to_string(in.logits));
    expect_float(in.logits, "two_hot_mean: logits");
    expect_f32(in.bins, {in.logits.size(1)}, "two_hot_mean: bins");
    const TensorSpec rows{DType::f32, {in.logits.size(0)}};
    return {rows, rows, rows};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // What is off is the mean, by (depth + 8) sum_c p |bins|, times p, which is at most 2.4 / C with these logits. The
  // sum is at most 1.5 C times the tensor's mean of p |bins - mean|, a sixteenth of which stands in.
  double gradient_k(const In& in) const { return 16 * 2.4 * 1.5 * (row_depth(in.logits.size(1)) + 8); }
  Cost cost(const In& in) const { return traffic(6.0 * double(in.logits.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {
    const Cost c = traffic(6.0 * double(in.logits.count()), in, infer(in));  // reads the inputs, dmean, max, den
    return {c.flops, c.bytes_read + c.bytes_written, double(in.logits.bytes())};
  }

  static std::vector<Case<TwoHotMean>> cases() {
    auto make = [](int64_t r, int c, DType t, int samples, int64_t pad = 0, bool bench = false) {
      return Case<TwoHotMean>({}, {.name = format("R={},C={},{}{}", r, c, name_of(t), pad ? ",strided" : ""),
                                   .in = {uniform({r, c}, -1, 1).as(t).padded(pad), symexp_input(c, bench ? 20 : 1)},
                                   .samples = samples,
                                   .bench = bench});
    };
    std::vector<Case<TwoHotMean>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make(7, 5, t, 7));
      list.push_back(make(5, 33, t, 5));
      list.push_back(make(6, 31, t, 3, 5));
      list.push_back(make(4, 255, t, 2));
    }
    list.push_back(make(2, 9001, DType::f32, 2));  // two blocks of pairs
    list.push_back(make(0, 7, DType::f32, 1));
    for (int64_t c : {2, 6, 64})
      list.push_back(Case<TwoHotMean>({}, {.name = format("even,C={}", c),
                                           .in = {uniform({4, c}, -1, 1), uniform({c}, -2, 2)},
                                           .samples = 4}));
    list.push_back(Case<TwoHotMean>({}, {.name = "one bin", .in = {normal({3, 1}), values({1}, {0.7})}, .samples = 3,
                                         .gradient = false}));  // it is 0
    list.push_back(Case<TwoHotMean>({}, {.name = "symexp,C=255",
                                         .in = {normal({4, 255}, 0, 3), symexp_input(255, 20)},
                                         .samples = 4,
                                         .gradient = false}));  // the outer bins drown the others
    list.push_back(Case<TwoHotMean>({}, {.name = "adversarial", .in = {adversarial({6, 40}), adversarial({40})},
                                         .samples = 6,
                                         .gradient = false}));  // steps of 2^-17 x straddle the change of maximum
    list.push_back(make(16384, 255, DType::f32, 1, 0, true));
    return list;
  }
};

}  // namespace dr
