#pragma once
// What a variance is in bits. Last include of a `_cpu.cpp`, as simd.h.

#include "kernels/core/math.h"

namespace dr::DR_ISA {

inline constexpr float kLog2E = 0x1.715476p0f, kHalfLog2E = 0x1.715476p-1f;  // 1 / ln 2 and half of it

DR_INLINE f32v feature_bits(f32v variance, f32v noise_power) {
  return splat(kHalfLog2E) * log1p(variance / noise_power);
}

// An element of A but for the 1 on its diagonal, from one of S.
DR_INLINE f32v signal_to_noise(f32v sum, f32v count, f32v noise_power) { return sum / count / noise_power; }

}  // namespace dr::DR_ISA
