#pragma once
// sigmoid(x) = 1 / (1 + exp(-x)), each operation rounded once: what SiLU, gates and Bernoulli heads share.
// NaN stays NaN; exp(-x) overflows below x = -88.7, which gives +0. Relative error at most 3 u (exp, sum, quotient) down
// to x = -87.3; below that the result is subnormal or +0 and the absolute error stays under 2^-126.
// Last include of a `_cpu.cpp`, as simd.h.

#include "kernels/core/math.h"

namespace dr::DR_ISA {

DR_INLINE f32v sigmoid(f32v x) { return splat(1.f) / (splat(1.f) + exp(-x)); }

// dy through the derivative of z sigmoid(z).
DR_INLINE f32v silu_backward(f32v dy, f32v z) {
  const f32v s = sigmoid(z);
  return dy * (s * fma(z, splat(1.f) - s, splat(1.f)));
}

}  // namespace dr::DR_ISA
