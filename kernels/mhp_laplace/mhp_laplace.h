#pragma once
// Multiple-hypothesis prediction: K guesses with a weight each, of which the one closest to the target learns from it.
//
//   distance[b,k] = sum_i w[b,i] |mean[b,k,i] - target[b,i]|        winner[b] = argmin_k distance[b,k]
//   nll[b] = sum_i w[b,i] (|e| / s + log(2 s)),   e = mean - target and s = exp(max(log_scale, min_log_scale)) of the
//     winner
//   cross_entropy[b] = -log softmax(logits[b])[winner[b]]
//   loss[b] = nll_scale nll[b] + cross_entropy[b]
//
//   With nll_scale = 1 the loss bounds -log of the mixture's likelihood of the whole target; with 1/M it has the mean
//   over the elements. A tie goes to the lowest k. A distance that is NaN counts as the smallest, so that it is seen.
//   mean, log_scale (B,K,M) and logits (B,K) f32|bf16, all the same; M packed, so that they may be parts of one tensor
//   target (B,M) f32|bf16    weight w (B,M) f32, or absent: 1; 0 passes over its element, whatever that holds, such as
//     the unknown end of a plan. Where all of a sample's weights are 0 nothing is known: winner -1, losses 0.
//   loss, nll, cross_entropy (B) f32    winner (B) i32, saved for backward
// Order: canonical row sums over i, by fma with weights; nll and its gradients by the operations of laplace_nll, the
//   cross-entropy and its gradients by those of cross_entropy; loss is a product and a sum. Sums over i, not means.
// backward: the winner's dmean and dlog_scale as laplace_nll's with dloss nll_scale, 0 for the others; dlogits as
//   cross_entropy's. No gradient to target and weight, nor through the choice of the winner.
// Deterministic, independent of B. Throws if K or M is 0.
// Source: arXiv:2504.19077, section 4 (K = 5); Rupprecht et al. 2017, arXiv:1612.00197.

#include "kernels/core/op.h"
#include "kernels/core/row_blocks.h"

namespace dr {

struct MhpLaplace {
  static constexpr std::string_view name = "mhp_laplace";
  float nll_scale = 1, min_log_scale = -7;

  struct In {
    View mean, log_scale, logits, target, weight;
    static constexpr auto names = fields("mean", "log_scale", "logits", "target", "weight");
  };
  struct Out {
    View loss, winner, nll, cross_entropy;
    static constexpr auto names = fields("loss", "winner", "nll", "cross_entropy");
  };
  struct OutGrad { View loss; static constexpr auto names = fields("loss"); };
  struct Grad { View mean, log_scale, logits; static constexpr auto names = fields("mean", "log_scale", "logits"); };

  Shapes infer(const In& in) const {
    CHECK(in.mean.rank() == 3 && in.mean.size(1) > 0 && in.mean.size(2) > 0,
          "mhp_laplace: mean must be (B,K,M) with K, M > 0, got {}", to_string(in.mean));
    const int64_t samples = in.mean.size(0), guesses = in.mean.size(1), width = in.mean.size(2);
    expect_float(in.mean, "mhp_laplace: mean");
    expect_float(in.target, "mhp_laplace: target");
    expect_sizes(in.log_scale, in.mean.sizes, "mhp_laplace: log_scale");
    expect_sizes(in.logits, {samples, guesses}, "mhp_laplace: logits");
    expect_sizes(in.target, {samples, width}, "mhp_laplace: target");
    CHECK(in.log_scale.dtype == in.mean.dtype && in.logits.dtype == in.mean.dtype,
          "mhp_laplace: mean is {}, log_scale {}, logits {}: they must be of one type", to_string(in.mean),
          to_string(in.log_scale), to_string(in.logits));
    if (in.weight) expect_f32(in.weight, {samples, width}, "mhp_laplace: weight");
    const TensorSpec one{DType::f32, {samples}};
    return {one, {DType::i32, {samples}}, one, one};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  size_t device_scratch_bytes(const In& in) const {  // distances
    return size_t(in.mean.size(0) * in.mean.size(1)) * sizeof(float);
  }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // As laplace_nll's, with the losers' zeros in the mean, and as cross_entropy's.
  double gradient_k(const In& in) const {
    const double guesses = double(in.mean.size(1));
    return std::max(67 * guesses, 16 * (row_depth(in.mean.size(1)) + 6) + 16);
  }
  Cost cost(const In& in) const {  // of the scales only the winner's are read
    const double elements = double(in.mean.count()), guesses = double(in.mean.size(1));
    const Cost c = traffic((3 + 6 / guesses) * elements, in, infer(in));
    return {c.flops, c.bytes_read - double(in.log_scale.bytes()) * (1 - 1 / guesses), c.bytes_written};
  }
  Cost backward_cost(const In& in) const {
    const double guesses = double(in.mean.size(1)), means = double(in.mean.bytes());
    const double read = 2 * means / guesses + double(in.logits.bytes() + in.target.bytes() + in.weight.bytes());
    return {7 * double(in.mean.count()) / guesses, read, 2 * means + double(in.logits.bytes())};
  }

  static std::vector<Case<MhpLaplace>> cases() {
    auto make = [&](int64_t b, int64_t k, int64_t m, DType p, DType t, bool weighted, int samples, int64_t pad = 0,
                    bool bench = false) {
      return Case<MhpLaplace>({}, {.name = format("B={},K={},M={},{},target={}{}{}", b, k, m, name_of(p), name_of(t),
                                                  weighted ? ",weighted" : "", pad ? ",strided" : ""),
                                   .in = {normal({b, k, m}).as(p).padded(pad),
                                          normal({b, k, m}, 0.2, 0.5).as(p).padded(pad),
                                          normal({b, k}).as(p).padded(pad), normal({b, m}, 0.3, 1.4).as(t).padded(pad),
                                          weighted ? uniform({b, m}, 0.1, 2).padded(pad) : absent()},
                                   .samples = samples,
                                   .bench = bench});
    };
    std::vector<Case<MhpLaplace>> list;
    for (DType p : {DType::f32, DType::bf16})
      for (DType t : {DType::f32, DType::bf16}) {
        list.push_back(make(5, 5, 7, p, t, p == t, 5));
        list.push_back(make(4, 3, 33, p, t, p != t, 2, 5));
      }
    list.push_back(make(3, 5, 495, DType::f32, DType::f32, false, 3));
    list.push_back(make(2, 2, 4100, DType::f32, DType::f32, true, 2));  // two blocks
    list.push_back(make(3, 33, 5, DType::f32, DType::f32, false, 3));
    list.push_back(make(4, 5, 1, DType::f32, DType::f32, true, 4));
    list.push_back(make(0, 5, 7, DType::f32, DType::f32, false, 1));
    Case<MhpLaplace> one = make(3, 1, 31, DType::f32, DType::f32, false, 3);
    one.name = "one guess";
    one.gradient = false;  // of the only logit: 0
    list.push_back(one);
    Case<MhpLaplace> mean = make(4, 5, 31, DType::f32, DType::f32, false, 4);
    mean.name = "nll_scale=1/31";
    mean.op.nll_scale = 1.f / 31;
    list.push_back(mean);
    // The ends of plans are unknown, and one plan wholly.
    const double nan = std::numeric_limits<double>::quiet_NaN();
    list.push_back(Case<MhpLaplace>(
        {}, {.name = "masked NaN",
             .in = {normal({4, 5, 6}), normal({4, 5, 6}, 0, 0.5), normal({4, 5}),
                    values({4, 6}, {0.5, -1, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan,
                                    1, 2, -1, 0.5, 0.25, 1.5}),
                    values({4, 6}, {1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1})},
             .samples = 4}));
    // All guesses are equally far, to the bit.
    list.push_back(Case<MhpLaplace>({}, {.name = "ties",
                                         .in = {values({3, 4, 5}, {1}), normal({3, 4, 5}, 0, 0.5), normal({3, 4}),
                                                values({3, 5}, {1, 2, 3}), absent()},
                                         .samples = 3,
                                         .gradient = false}));  // |e| has its kink here, and so has the winner
    list.push_back(Case<MhpLaplace>(
        {}, {.name = "adversarial",
             .in = {adversarial({6, 5, 40}), normal({6, 5, 40}, 0, 4), adversarial({6, 5}), adversarial({6, 40}),
                    absent()},
             .samples = 3,
             .gradient = false}));
    list.push_back(make(256, 5, 495, DType::f32, DType::f32, true, 1, 0, true));
    list.push_back(make(4096, 5, 495, DType::f32, DType::f32, true, 1, 0, true));
    return list;
  }
};

}  // namespace dr
