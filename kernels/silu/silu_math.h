#pragma once
// SiLU and its derivative. Last include of a `_cpu.cpp` or `.cu`, as simd.h.

#include "kernels/core/sigmoid.h"

namespace dr::DR_ISA {

DR_INLINE f32v silu(f32v x) { return x * sigmoid(x); }
DR_INLINE f32v silu_derivative(f32v x) {
  const f32v s = sigmoid(x);
  return s * fma(x, splat(1.f) - s, splat(1.f));
}

}  // namespace dr::DR_ISA
