#pragma once
// The two GELUs and their derivatives for W lanes of f32: the definition, to the last bit, that Gelu and every op with
// a GELU fused into it share. Each operation below, and each fma, is one rounding to f32.
//
// 1/2 (1 + tanh(z/2)) = 1 / (1 + exp(-z)), so the tanh form needs one exponential and one division and, unlike
// 1 + tanh, does not cancel where x is negative. Its exp is correctly rounded.
//
// The erf form's two odd functions, erf(x / sqrt(2)) and y' - 1/2, are piecewise polynomials in x itself, evaluated in
// f32: the correctly rounded erf takes several times as long in double, and the roundings of y and y' are as large as
// the difference.
// Last include of a `_cpu.cpp`, as simd.h.

#include "kernels/gelu/gelu.h"
#include "kernels/gelu/gelu_tables.h"

#include "kernels/core/math.h"

namespace dr::DR_ISA {

// z = x (a + b x^2) with a = 2 sqrt(2/pi), b = 0.044715 a
inline constexpr float kGeluA = 1.5957691216057308f, kGeluB = 0.07135481627260025f;

DR_INLINE f32v gelu_tanh(f32v x) {
  const f32v minus_z = x * fma(splat(-kGeluB), x * x, splat(-kGeluA));
  return x / (splat(1.f) + exp(minus_z));  // exp overflows to infinity for x < -10.06: y = -0
}

// The odd function of a table at x: |x| = n h + t with the nearest n up to 15, t exact; a polynomial in t; x's sign.
// Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits. From 15 h on t = 0; NaN passes through t.
template <int N>
DR_INLINE f32v gelu_piecewise(f32v x, float step, float per_step, const float (&table)[N][16]) {
  const f32v v = math::at_most(abs(x), 15 * step);
  const f32v magic = splat(0x1.8p23f);
  const f32v shifted = fma(v, splat(per_step), magic);
  const f32v t = fma(magic - shifted, splat(step), v);
  const u32v n = bits<u32v>(shifted);
  f32v q = math::lookup16(table[N - 1], n);
#pragma GCC unroll 16
  for (int i = N - 2; i >= 0; i--) q = fma(q, t, math::lookup16(table[i], n));
  return math::or_bits(q, math::sign_of(x));
}

DR_INLINE f32v gelu_erf(f32v x) {
  const f32v h = splat(0.5f) * x;
  return fma(h, gelu_piecewise(x, kGeluErfStep, kGeluErfPerStep, kGeluErf), h);
}

// Beyond 16 the derivative is 0 or 1 in f32; within it no power of x overflows. NaN stays NaN.
DR_INLINE f32v gelu_clamp(f32v x) {
  const f32v limit = splat(16.f);
  x = x > limit ? limit : x;
  return x < -limit ? -limit : x;
}

// y' = s (1 + x z' (1 - s)),   s = 1 / (1 + e),   e = exp(-z),   1 - s = e s
DR_INLINE f32v gelu_tanh_derivative(f32v x) {
  x = gelu_clamp(x);
  const f32v square = x * x;
  const f32v minus_z = x * fma(splat(-kGeluB), square, splat(-kGeluA));
  const f32v slope = fma(splat(3 * kGeluB), square, splat(kGeluA));
  const f32v e = exp(minus_z), s = splat(1.f) / (splat(1.f) + e);
  const f32v largest = splat(0x1.fffffep127f);  // where e is infinite s is 0, and so is s e
  return s * fma(x * slope, s * (e > largest ? largest : e), splat(1.f));
}

// y' = 1/2 (1 + erf(x / sqrt(2))) + x exp(-x^2 / 2) / sqrt(2 pi)
DR_INLINE f32v gelu_erf_derivative(f32v x) {
  return splat(0.5f) + gelu_piecewise(x, kGeluSlopeStep, kGeluSlopePerStep, kGeluSlope);
}

DR_INLINE f32v gelu_value(GeluKind kind, f32v x) { return kind == GeluKind::tanh ? gelu_tanh(x) : gelu_erf(x); }
DR_INLINE f32v gelu_derivative(GeluKind kind, f32v x) {
  return kind == GeluKind::tanh ? gelu_tanh_derivative(x) : gelu_erf_derivative(x);
}

}  // namespace dr::DR_ISA
