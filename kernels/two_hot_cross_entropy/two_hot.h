#pragma once
// A number as weights of the two bins that enclose it. Last include of a `_cpu.cpp` or `.cu`, as simd.h.

#include "kernels/core/simd.h"

namespace dr::DR_ISA {

// The weights of bins `below` and below + 1.
struct TwoHot {
  int64_t below;
  float lower, upper;
};
DR_INLINE TwoHot two_hot(const float* bins, int64_t count, float target) {
  int64_t above = 0, end = count;  // the first bin above the target; past the last one for a NaN
  while (above < end) {
    const int64_t middle = (above + end) / 2;
    if (target < bins[middle]) end = middle;
    else above = middle + 1;
  }
  const int64_t below = above < 1 ? 0 : above > count - 1 ? count - 2 : above - 1;
  const float w = (target - bins[below]) / (bins[below + 1] - bins[below]);
  const float upper = w < 0 ? 0 : w > 1 ? 1 : w;
  return {below, 1 - upper, upper};
}

// A weight of 0 passes over its bin.
DR_INLINE float two_hot_term(float weight, float nll) { return weight == 0 ? 0.f : weight * nll; }

}  // namespace dr::DR_ISA
