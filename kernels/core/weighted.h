#pragma once
// A weight on a term of a sum: one of 0 passes over the term, whatever that holds. For the walks of core/row_loss.h and
// core/gpu_row_loss.h. Last include of a `_cpu.cpp` or `.cu`, as simd.h.

#include "kernels/core/simd.h"

namespace dr::DR_ISA {

// acc + w v
DR_INLINE f32v add_weighted(f32v acc, f32v w, f32v v) { return fma(w, w == 0.f ? f32v{} : v, acc); }
// (g w) slope
DR_INLINE f32v weighted_slope(f32v g, f32v w, f32v slope) { return w == 0.f ? f32v{} : (g * w) * slope; }

}  // namespace dr::DR_ISA
