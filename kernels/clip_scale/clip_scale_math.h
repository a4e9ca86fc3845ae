#pragma once
// The norm and the scale that clips it, from the sum of squares. Last include of a `_cpu.cpp`, as simd.h.

#include "kernels/core/simd.h"

namespace dr::DR_ISA {

struct ClippedNorm {
  float norm, scale;
};
DR_INLINE ClippedNorm clip_norm(float sum, float max_norm, float factor) {
  const float norm = factor * sqrt(sum);
  const float ratio = max_norm / (norm + ClipScale::kTiny);
  const bool finite = norm - norm == 0.f;  // false for infinity and NaN
  return {norm, finite ? factor * (ratio >= 1.f ? 1.f : ratio) : 0.f};
}

}  // namespace dr::DR_ISA
