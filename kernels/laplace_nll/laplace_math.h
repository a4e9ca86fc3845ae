#pragma once
// One term of Laplace's likelihood: e is mean - target, s the logarithm of the scale, held to a floor.
// Last include of a `_cpu.cpp` or `.cu`, as simd.h.

#include "kernels/core/math.h"

namespace dr::DR_ISA {

DR_INLINE f32v laplace_scale(f32v log_scale, float floor) { return math::at_least(log_scale, floor); }
DR_INLINE f32v laplace_term(f32v e, f32v s) { return fma(abs(e), exp(-s), s + splat(0x1.62e430p-1f)); }

// Its slopes by the mean and by log_scale.
struct LaplaceSlopes {
  f32v mean, log_scale;
};
DR_INLINE LaplaceSlopes laplace_slopes(f32v e, f32v log_scale, float floor) {
  const f32v inverse = exp(-laplace_scale(log_scale, floor));
  return {e > 0.f ? inverse : e < 0.f ? -inverse : e,  // e where it is 0 or NaN
          log_scale < splat(floor) ? f32v{} : fma(-abs(e), inverse, splat(1.f))};
}

}  // namespace dr::DR_ISA
