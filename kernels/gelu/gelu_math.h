#pragma once
// The two GELUs and their derivatives for W lanes of f32: the definition, to the last bit, that Gelu and every op with
// a GELU fused into it share. Each line below is one or two roundings to f32; exp and erf are correctly rounded.
//
// 1/2 (1 + tanh(z/2)) = 1 / (1 + exp(-z)), so the tanh form needs one exponential and one division and, unlike
// 1 + tanh, does not cancel where x is negative.
// Last include of a `_cpu.cpp`, as simd.h.

#include "kernels/gelu/gelu.h"

#include "kernels/core/math.h"

namespace dr::DR_ISA {

// z = x (a + b x^2) with a = 2 sqrt(2/pi), b = 0.044715 a
inline constexpr float kGeluA = 1.5957691216057308f, kGeluB = 0.07135481627260025f;
inline constexpr float kInvSqrt2 = 0.7071067811865476f, kInvSqrt2Pi = 0.3989422804014327f;

DR_INLINE f32v gelu_tanh(f32v x) {
  const f32v z = x * fma(splat(kGeluB), x * x, splat(kGeluA));
  return x / (splat(1.f) + exp(-z));  // exp overflows to infinity for x < -10.06: y = -0
}

DR_INLINE f32v gelu_erf(f32v x) {
  const f32v h = splat(0.5f) * x;
  return fma(h, erf(x * splat(kInvSqrt2)), h);
}

// Beyond 16 both derivatives are 0 or 1 in f32; within it no power of x overflows. NaN stays NaN.
DR_INLINE f32v gelu_clamp(f32v x) {
  const f32v limit = splat(16.f);
  x = x > limit ? limit : x;
  return x < -limit ? -limit : x;
}

// y' = s (1 + x z' (1 - s)),   s = 1 / (1 + e),   e = exp(-z),   1 - s = e s
DR_INLINE f32v gelu_tanh_derivative(f32v x) {
  x = gelu_clamp(x);
  const f32v square = x * x;
  const f32v z = x * fma(splat(kGeluB), square, splat(kGeluA));
  const f32v slope = fma(splat(3 * kGeluB), square, splat(kGeluA));
  const f32v e = exp(-z), s = splat(1.f) / (splat(1.f) + e);
  const f32v largest = splat(0x1.fffffep127f);  // where e is infinite s is 0, and so is s e
  return s * fma(x * slope, s * (e > largest ? largest : e), splat(1.f));
}

// y' = 1/2 (1 + erf(x / sqrt(2))) + x exp(-x^2 / 2) / sqrt(2 pi)
DR_INLINE f32v gelu_erf_derivative(f32v x) {
  x = gelu_clamp(x);
  const f32v half = splat(0.5f);
  const f32v cumulative = fma(half, erf(x * splat(kInvSqrt2)), half);
  return fma(x * splat(kInvSqrt2Pi), exp(-half * (x * x)), cumulative);
}

DR_INLINE f32v gelu_value(GeluKind kind, f32v x) { return kind == GeluKind::tanh ? gelu_tanh(x) : gelu_erf(x); }
DR_INLINE f32v gelu_derivative(GeluKind kind, f32v x) {
  return kind == GeluKind::tanh ? gelu_tanh_derivative(x) : gelu_erf_derivative(x);
}

}  // namespace dr::DR_ISA
