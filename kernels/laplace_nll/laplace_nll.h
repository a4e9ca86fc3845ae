#pragma once
// Negative log-likelihood of independent Laplace variables, each with its own scale, summed per row.
//
//   loss[r] = sum_i weight[r,i] nll[r,i],   nll = |mean - target| / b + log(2 b),   b = exp(s),
//   s = max(log_scale, min_log_scale)
//
//   The floor keeps what is known exactly, such as the first point of a plan, from driving b to 0 and the loss to -inf.
//   Its default makes b at least 0.0009: a millimetre, a milliradian. -infinity: none; below -88.7 exp(-s) overflows.
//
//   mean, log_scale (R, ...) f32|bf16, both the same; target likewise f32|bf16; packed but for axis 0, which may be
//     strided, so that mean and log_scale may be parts of one tensor
//   weight like mean, f32, or absent: 1; it may be one row for all (a stride of 0), and 0 passes over its element,
//     whatever that holds, such as the unknown end of a plan
//   loss (R) f32
// Order: e = mean - target, nll = fma(|e|, exp(-s), s + log 2); canonical row sum of the terms, by fma with weights.
//   A sum, not a mean: the joint likelihood of a row; one scale by 1 / global count is applied at the end of the step.
// backward: dmean = (dloss weight) (sign(e) exp(-s)), 0 at e = 0;
//   dlog_scale = (dloss weight) fma(-|e|, exp(-s), 1), 0 below the floor. No gradient to target and weight.
// A NaN stays a NaN. Deterministic, independent of R. Throws if the shapes differ.
// Source: openpilot's outputs, means and logarithms of scales (selfdrive/modeld/parse_model_outputs.py).

#include "kernels/core/op.h"
#include "kernels/core/row_blocks.h"

namespace dr {

struct LaplaceNll {
  static constexpr std::string_view name = "laplace_nll";
  float min_log_scale = -7;

  struct In {
    View mean, log_scale, target, weight;
    static constexpr auto names = fields("mean", "log_scale", "target", "weight");
  };
  struct Out { View loss; static constexpr auto names = fields("loss"); };
  struct OutGrad { View loss; static constexpr auto names = fields("loss"); };
  struct Grad { View mean, log_scale; static constexpr auto names = fields("mean", "log_scale"); };

  Shapes infer(const In& in) const {
    CHECK(in.mean.rank() >= 1, "laplace_nll: mean must have rows along axis 0, got {}", to_string(in.mean));
    expect_float(in.mean, "laplace_nll: mean");
    expect_float(in.target, "laplace_nll: target");
    expect_sizes(in.log_scale, in.mean.sizes, "laplace_nll: log_scale");
    expect_sizes(in.target, in.mean.sizes, "laplace_nll: target");
    CHECK(in.log_scale.dtype == in.mean.dtype, "laplace_nll: mean is {}, log_scale {}: they must be of one type",
          to_string(in.mean), to_string(in.log_scale));
    if (in.weight) expect_f32(in.weight, in.mean.sizes, "laplace_nll: weight");
    CHECK(in.mean.packed(1) && in.log_scale.packed(1) && in.target.packed(1) && in.weight.packed(1),
          "laplace_nll: mean, log_scale, target and weight must be packed but for axis 0");
    return {{DType::f32, {in.mean.size(0)}}};
  }
  size_t scratch_bytes(const In& in, int) const { return RowBlocks(in.mean).scratch_bytes(); }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // dlog_scale: where |e| is close to b, two roundings of about 1 meet a sixteenth of the tensor's mean, about 1/2, in
  // place of the difference. Two products more, as for dmean, whose exponential rounds once.
  double gradient_k(const In&) const { return 2 * 16 * 2 + 3; }
  Cost cost(const In& in) const { return traffic((in.weight ? 7.0 : 6.0) * double(in.mean.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {
    const Cost c = traffic(7.0 * double(in.mean.count()), in, infer(in));  // reads the inputs and dloss
    return {c.flops, c.bytes_read + c.bytes_written, 2 * double(in.mean.bytes())};
  }

  static std::vector<Case<LaplaceNll>> cases() {
    auto make = [&](Sizes s, DType p, DType t, bool weighted, int samples, int64_t pad = 0, bool bench = false) {
      return Case<LaplaceNll>({}, {.name = format("{},mean={},target={}{}{}", to_string(s), name_of(p), name_of(t),
                                                  weighted ? ",weighted" : "", pad ? ",strided" : ""),
                                   .in = {normal(s).as(p).padded(pad), normal(s, 0.2, 0.5).as(p).padded(pad),
                                          normal(s, 0.3, 1.4).as(t).padded(pad),
                                          weighted ? uniform(s, 0.1, 2).padded(pad) : absent()},
                                   .samples = samples,
                                   .bench = bench});
    };
    std::vector<Case<LaplaceNll>> list;
    for (DType p : {DType::f32, DType::bf16})
      for (DType t : {DType::f32, DType::bf16}) {
        list.push_back(make({5, 33}, p, t, p == t, 5));
        list.push_back(make({6, 31}, p, t, p != t, 3, 7));
      }
    list.push_back(make({2, 3, 7, 5}, DType::f32, DType::f32, true, 2));
    list.push_back(make({3, 8193}, DType::f32, DType::f32, false, 3));
    list.push_back(make({7, 1}, DType::f32, DType::f32, false, 7));
    list.push_back(make({0, 8}, DType::f32, DType::f32, false, 1));
    list.push_back(make({3, 0}, DType::f32, DType::f32, true, 1));
    list.push_back(Case<LaplaceNll>(
        {.min_log_scale = 0.1f},
        {.name = "floor=0.1", .in = {normal({4, 33}), normal({4, 33}), normal({4, 33}), absent()}, .samples = 4}));
    const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
    list.push_back(Case<LaplaceNll>({}, {.name = "masked NaN",
                                         .in = {normal({4, 6}), values({4, 6}, {0.5, 3, -2}),
                                                values({4, 6}, {0.5, nan, -2}), values({4, 6}, {1, 0, 1})},
                                         .samples = 4}));
    // What is known exactly, with no floor, with one, and with scales beyond f32.
    const std::vector<double> scales{-200, -90, -7, -3, 0, 50, 90, 1e30};
    for (double floor : {-inf, -7.0})
      list.push_back(Case<LaplaceNll>(
          {.min_log_scale = float(floor)},
          {.name = format("exact,floor={}", floor),
           .in = {values({2, 8}, {1}), values({2, 8}, scales), values({2, 8}, {1, 1, 1, 1, 1, 3, 3, 3}),
                  floor < -7 ? values({2, 8}, {0, 0, 1, 1, 1, 1, 1, 1}) : absent()},
           .samples = 2,
           .gradient = false}));  // |e| has its kink here
    list.push_back(Case<LaplaceNll>({}, {.name = "adversarial",
                                         .in = {adversarial({6, 40}), normal({6, 40}, 0, 4), adversarial({6, 40}),
                                                adversarial({6, 40})},
                                         .samples = 3,
                                         .gradient = false}));  // 1 - |e|/b of 2^26 times other elements' mean
    list.push_back(make({4096, 495}, DType::f32, DType::f32, false, 1, 0, true));
    list.push_back(make({4096, 495}, DType::f32, DType::f32, true, 1, 0, true));
    return list;
  }
};

}  // namespace dr
