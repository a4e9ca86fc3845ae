#pragma once
// Where outputs read, and how they blend: what CPU and devices share. kernels/resize2d/resize2d.h states it. Last
// include of a `_cpu.cpp`, as simd.h.

#include "kernels/resize2d/resize2d.h"

#include "kernels/core/simd.h"

namespace dr::DR_ISA {

// Where output o of an axis reads.
DR_INLINE Resize2d::Tap axis_tap(int64_t o, int64_t in, int64_t out, Interpolation how) {
  if (how == Interpolation::nearest) {
    const auto i = int32_t((2 * o + 1) * in / (2 * out));
    return {i, i, 1.f, 0.f};
  }
  const int64_t from = (2 * o + 1) * in - out, n = from > 0 ? from : 0, i = n / (2 * out), rest = n % (2 * out);
  if (rest == 0 || i + 1 == in) return {int32_t(i), int32_t(i), 1.f, 0.f};
  return {int32_t(i), int32_t(i + 1), float(2 * out - rest) / float(2 * out), float(rest) / float(2 * out)};
}
// What an output's gradient counts for in pixel i, which it reads.
DR_INLINE float tap_weight(const Resize2d::Tap& tap, int64_t i) { return tap.lo == i ? tap.down : tap.up; }

DR_INLINE f32v between(f32v a, f32v b, f32v f) { return fma(f, b - a, a); }

}  // namespace dr::DR_ISA
