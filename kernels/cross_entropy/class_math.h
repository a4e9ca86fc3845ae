#pragma once
// Logits against a class or a weight for each class, one at a time. Last include of a `_cpu.cpp` or `.cu`, as simd.h.

#include "kernels/core/simd.h"

namespace dr::DR_ISA {

// -log of a class's probability, log_den being log(den). V: f32v or float.
template <class V>
DR_INLINE V class_nll(V x, V max, V log_den) { return log_den - (x - max); }

// The gradients of logits: by a class's weight, and by weights that add up to `sum`.
DR_INLINE f32v class_slope(f32v g, f32v p, f32v weight) { return g * (p - weight); }
DR_INLINE f32v weights_slope(f32v g, f32v p, f32v sum, f32v weight) { return g * fma(p, sum, -weight); }

}  // namespace dr::DR_ISA
