#pragma once
// Smooth L1 loss and its slope, of prediction and target. Last include of a `_cpu.cpp` or `.cu`, as simd.h.

#include "kernels/core/simd.h"

namespace dr::DR_ISA {

struct SmoothL1Value {
  float limit, curve, offset;
  explicit SmoothL1Value(float beta) : limit(beta), curve(0.5f / beta), offset(0.5f * beta) {}
  DR_INLINE f32v operator()(f32v pred, f32v target) const {
    const f32v d = pred - target, a = abs(d);
    return a < splat(limit) ? (d * d) * splat(curve) : a - splat(offset);
  }
};
struct SmoothL1Slope {
  float limit, inverse;
  explicit SmoothL1Slope(float beta) : limit(beta), inverse(1.f / beta) {}
  DR_INLINE f32v operator()(f32v pred, f32v target) const {
    const f32v d = pred - target, one = splat(1.f);
    const f32v sign = d > 0.f ? one : d < 0.f ? -one : d;  // d where it is 0 or NaN
    return abs(d) < splat(limit) ? d * splat(inverse) : sign;
  }
};

}  // namespace dr::DR_ISA
