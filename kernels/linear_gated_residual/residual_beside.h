#pragma once
// The epilogue of a linear layer whose result enters the residual stream through a gate. Last include of a `_cpu.cpp`,
// as simd.h.

#include "kernels/core/simd.h"

namespace dr::DR_ISA {

// The GEMM's own output is h; y is written beside it, tile by tile.
template <class Bias, class T>
struct ResidualBeside {
  Bias add_bias;
  const T* residual;
  T* y;
  const float* gate;
  int64_t residual_stride, y_stride, gate_stride, rows_per_frame;
  int64_t first_row;  // of these rows within the frames

  template <class N>
  DR_INLINE f32v operator()(int64_t row, int64_t column, f32v value, N n) const {
    const f32v h = add_bias(row, column, value, n);
    const f32v g = load_n(gate + (first_row + row) / rows_per_frame * gate_stride + column, n);
    store_n(y + row * y_stride + column, fma(g, h, load_n(residual + row * residual_stride + column, n)), n);
    return h;
  }
};

}  // namespace dr::DR_ISA
