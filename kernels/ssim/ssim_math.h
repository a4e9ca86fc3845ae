#pragma once
// What a window's value and gradient are made of: what CPU and devices share. kernels/ssim/ssim.h states it. Last
// include of a `_cpu.cpp`, as simd.h.

#include "kernels/ssim/ssim.h"

#include "kernels/core/simd.h"

namespace dr::DR_ISA {

// Weights and twice the two constants.
struct SsimSetting {
  float weight[Ssim::kWindow];
  float c1, c2;

  explicit SsimSetting(float range) {
    const auto window = Ssim::window();
    for (int i = 0; i < Ssim::kWindow; i++) weight[i] = window[size_t(i)];
    const float a = 0.01f * range, b = 0.03f * range;
    c1 = 2 * (a * a), c2 = 2 * (b * b);
  }
};

// From E[p], E[d], E[p p] and E[d d].
struct SsimWindow {
  f32v mean_p, mean_d, P, D, Vp, Vd, den_l, den_s, l, s;

  DR_INLINE SsimWindow(f32v p, f32v d, f32v pp, f32v dd, f32v c1, f32v c2) {
    mean_p = p, mean_d = d;
    P = p * p, D = d * d;
    Vp = fma(-p, p, pp), Vd = fma(-d, d, dd);
    den_l = (P + D) + c1, den_s = (Vp + Vd) + c2;
    l = ((P - D) + c1) / den_l, s = ((Vp - Vd) + c2) / den_s;
  }
  DR_INLINE f32v value() const { return l * s; }
};

// The coefficients a_p, a_d, c_p and c_d of a window; g is the gradient of its value.
struct SsimCoefficients {
  f32v v[Ssim::kMaps];

  DR_INLINE SsimCoefficients(const SsimWindow& w, f32v g, f32v c1, f32v c2) {
    const f32v square_l = w.den_l * w.den_l, square_s = w.den_s * w.den_s;
    const f32v c_p = g * (w.l * (w.Vd + w.Vd)) / square_s;
    const f32v rest = w.Vp + c2, bright = w.P + c1;
    const f32v c_d = -(g * (w.l * (rest + rest)) / square_s);
    v[0] = (w.mean_p + w.mean_p) * (g * (w.s * (w.D + w.D)) / square_l - c_p);
    v[1] = -((w.mean_d + w.mean_d) * (g * (w.s * (bright + bright)) / square_l + c_d));
    v[2] = c_p, v[3] = c_d;
  }
};

// The gradients of p and d, and of x and y, from a pixel's sums of coefficients.
struct SsimGradient {
  f32v dx, dy;
  DR_INLINE SsimGradient(f32v x, f32v y, const f32v (&sum)[Ssim::kMaps]) {
    const f32v p = x + y, d = x - y;
    const f32v dp = fma(p + p, sum[2], sum[0]), dd = fma(d + d, sum[3], sum[1]);
    dx = dp + dd, dy = dp - dd;
  }
};

}  // namespace dr::DR_ISA
