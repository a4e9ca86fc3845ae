#pragma once
// ReLU: v where x is positive. A comparison with NaN is false. Last include of a `_cpu.cpp` or `.cu`, as simd.h.

#include "kernels/core/simd.h"

namespace dr::DR_ISA {

DR_INLINE f32v where_positive(f32v x, f32v v) { return x <= 0.f ? f32v{} : v; }

}  // namespace dr::DR_ISA
