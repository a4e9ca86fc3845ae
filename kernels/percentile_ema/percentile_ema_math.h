#pragma once
// Where a percentile lies, its value, and what it does to the state. Last include of a `_cpu.cpp`, as simd.h.

#include "kernels/core/simd.h"

namespace dr::DR_ISA {

// Among n values: between i and i + 1, or on i.
struct Position {
  int64_t i;
  float fraction;

  Position(float percent, int64_t n) {
    const double at = double(percent) * double(n - 1) / 100;  // exact where it is whole
    i = int64_t(at);
    fraction = float(at - double(i));
    if (i >= n - 1) i = n - 1, fraction = 0;
  }
};

// `next` is of no account where the fraction is 0.
DR_INLINE float percentile_between(float v, float next, float fraction) {
  return fraction == 0 || next == v ? v : fma(fraction, next - v, v);
}

// Takes up percentiles that are finite; returns the scale.
DR_INLINE float take_up_percentiles(const PercentileEma& op, const float* percentiles, float* state) {
  if (percentiles[0] - percentiles[0] == 0 && percentiles[1] - percentiles[1] == 0)
    for (int k = 0; k < 2; k++) state[k] = fma(1.f - op.rate, state[k], op.rate * percentiles[k]);
  const float range = state[1] - state[0];
  return range < op.limit ? op.limit : range;  // a NaN in the state shows
}

}  // namespace dr::DR_ISA
