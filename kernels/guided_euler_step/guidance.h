#pragma once
// Classifier-free guidance of strength g. Last include of a `_cpu.cpp` or `.cu`, as simd.h.

#include "kernels/core/simd.h"

namespace dr::DR_ISA {

// The velocity, from the conditional and the unconditional one.
DR_INLINE f32v guided(f32v g, f32v conditional, f32v unconditional) {
  return fma(g, conditional - unconditional, unconditional);
}
// The unconditional one's gradient, from that of the guided one.
DR_INLINE f32v unguided_gradient(f32v g, f32v h) { return fma(-g, h, h); }

}  // namespace dr::DR_ISA
