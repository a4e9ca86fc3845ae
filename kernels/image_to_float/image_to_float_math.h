#pragma once
// Last include of a `_cpu.cpp`, as simd.h.

#include "kernels/core/simd.h"

namespace dr::DR_ISA {

// Of bytes as floats: (2x - 255) / 255.
DR_INLINE f32v image_to_float(f32v x) { return ((x + x) - splat(255.f)) / splat(255.f); }

}  // namespace dr::DR_ISA
