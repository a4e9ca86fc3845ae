#pragma once
// The epilogue of a linear layer with GELU behind it. Last include of a `_cpu.cpp`, as simd.h.

#include "kernels/gelu/gelu_math.h"

namespace dr::DR_ISA {

// The GEMM's own output is pre; y is written beside it, tile by tile.
template <class Bias, class TY>
struct GeluBeside {
  Bias add_bias;
  TY* y;
  int64_t stride;

  template <class N>
  DR_INLINE f32v operator()(int64_t row, int64_t column, f32v value, N n) const {
    const f32v pre = add_bias(row, column, value, n);
    store_n(y + row * stride + column, gelu_tanh(pre), n);
    return pre;
  }
};

}  // namespace dr::DR_ISA
