#pragma once
// Adaptive layer normalisation, with one shift and one scale per frame (or per any run of equally many rows).
//
//   y[r,c] = xhat[r,c] * (1 + scale[f,c]) + shift[f,c],   f = r / (R / F)
//   xhat[r,c] = (x[r,c] - mean[r]) * rstd[r],  mean = sum_c x / C,  rstd = rsqrt(sum_c (x - mean)^2 / C + eps)
//   Norm::rms leaves the mean out: xhat = x * rsqrt(sum_c x^2 / C + eps).
//
//   x (R,C) f32|bf16, rows may be strided    shift, scale (F,C) f32, rows may be strided    y like x, packed
//   mean (R) f32 (absent for rms), rstd (R) f32: saved for backward
// Order: canonical row sums; squares are added by fma; y = fma(xhat, 1 + scale, shift).
// backward: g = dy * (1 + scale); dx = rstd * ((g - sum(g)/C) - xhat * (sum(g * xhat)/C)), the first sum left out for
//   rms; dshift[f] = column sum of dy, dscale[f] = column sum of dy * xhat (fma chain) over the frame's rows.
// Deterministic, independent of R. Throws if C == 0 or R is no multiple of F.
// Source: Peebles & Xie 2023, arXiv:2212.09748, section 3; per-frame conditioning as in arXiv:2504.19077, section
//   4.2.1.

#include "kernels/core/op.h"
#include "kernels/core/row_groups.h"

namespace dr {

enum class Norm : uint8_t { layer, rms };

struct AdaLN {
  static constexpr std::string_view name = "adaln";
  float eps = 1e-6f;
  Norm norm = Norm::layer;

  struct In { View x, shift, scale; static constexpr auto names = fields("x", "shift", "scale"); };
  struct Out { View y, mean, rstd; static constexpr auto names = fields("y", "mean", "rstd"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x, shift, scale; static constexpr auto names = fields("x", "shift", "scale"); };

  Shapes infer(const In& in) const {
    CHECK(in.x.rank() == 2 && in.x.size(1) > 0, "adaln: x must be (R,C) with C > 0, got {}", to_string(in.x));
    expect_float(in.x, "adaln: x");
    const int64_t rows = in.x.size(0), frames = in.shift.rank() == 2 ? in.shift.size(0) : 0;
    CHECK(frames > 0 ? rows % frames == 0 : rows == 0, "adaln: {} rows do not divide into the frames of shift {}", rows,
          to_string(in.shift));
    expect_f32(in.shift, {frames, in.x.size(1)}, "adaln: shift");
    expect_f32(in.scale, {frames, in.x.size(1)}, "adaln: scale");
    return {{in.x.dtype, in.x.sizes}, {DType::f32, norm == Norm::layer ? Sizes{rows} : Sizes{}}, {DType::f32, {rows}}};
  }
  size_t scratch_bytes(const In& in, int) const {
    return RowGroups(in.shift.size(0), in.x.size(0), in.x.size(1)).scratch_bytes(2);
  }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // Two row sums and the saved statistics feed each element of dx: relative errors of a few row-sum depths add up.
  double gradient_k(const In& in) const { return 24 + 3.0 * double((in.x.size(1) + 31) / 32 + in.x.size(0)); }
  Cost cost(const In& in) const { return traffic(9.0 * double(in.x.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const { return backward_traffic(15.0 * double(in.x.count()), in, infer(in)); }

  static std::vector<Case<AdaLN>> cases() {
    auto make = [](int64_t frames, int64_t rows_per_frame, int64_t c, int samples, Norm norm, DType t,
                   int64_t pad = 0) {
      return Case<AdaLN>(
          {.norm = norm},
          {.name = format("F={},S={},C={},{}{}{}", frames, rows_per_frame, c, name_of(t),
                          norm == Norm::rms ? ",rms" : "", pad ? ",strided" : ""),
           .in = {normal({frames * rows_per_frame, c}, 0.3, 2).as(t).padded(pad), normal({frames, c}).padded(pad),
                  normal({frames, c}, 0, 0.5).padded(pad)},
           .samples = samples});
    };
    std::vector<Case<AdaLN>> list;
    for (Norm norm : {Norm::layer, Norm::rms})
      for (DType t : {DType::f32, DType::bf16}) {
        list.push_back(make(4, 5, 33, 4, norm, t));
        list.push_back(make(2, 31, 64, 2, norm, t, 3));
      }
    list.push_back(make(1, 1, 1, 1, Norm::layer, DType::f32));
    list.back().gradient = false;  // a single channel equals its mean: dx and dscale are zero
    list.push_back(make(8, 1, 7, 8, Norm::layer, DType::f32));
    list.push_back(make(0, 1, 5, 1, Norm::layer, DType::f32));
    list.push_back(make(1, 2, 5000, 1, Norm::rms, DType::f32));
    list.push_back(Case<AdaLN>(
        {}, {.name = "adversarial", .in = {adversarial({6, 40}), normal({3, 40}), normal({3, 40})}, .samples = 3}));
    Case<AdaLN> big = make(256, 128, 768, 1, Norm::layer, DType::f32);
    big.bench = true;
    list.push_back(big);
    return list;
  }
};

}  // namespace dr
