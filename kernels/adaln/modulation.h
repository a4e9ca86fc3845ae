#pragma once
// A row's gain 1 + scale and its shift, by frame: what AdaLN and the ops with more fused behind it give to row_stats.h.
// Last include of a `_cpu.cpp`, as simd.h.

#include "kernels/core/row_stats.h"

namespace dr::DR_ISA {

// Rows count from `first_row` of the frames.
inline auto gain_of(const View& scale, int64_t rows_per_frame, int64_t first_row = 0) {
  return [=, &scale](int64_t r) {
    return [p = row_of<const float>(scale, (first_row + r) / rows_per_frame)](int64_t i, auto n) {
      return splat(1.f) + load_n(p + i, n);
    };
  };
}
inline auto shift_of(const View& shift, int64_t rows_per_frame, int64_t first_row = 0) {
  return [=, &shift](int64_t r) {
    return [p = row_of<const float>(shift, (first_row + r) / rows_per_frame)](int64_t i, auto n) {
      return load_n(p + i, n);
    };
  };
}

}  // namespace dr::DR_ISA
