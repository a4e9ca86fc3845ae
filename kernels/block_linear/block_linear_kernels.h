#pragma once
// The GEMMs of a block-diagonal linear layer, for BlockLinear and BlockGru. Last include of a `_cpu.cpp`.

#include "kernels/block_linear/block_linear.h"

#include "kernels/linear/linear_kernels.h"

namespace dr::DR_ISA {

// Block g of x (R,G,I) or of dy as a matrix of R rows.
inline Operand block_rows(const View& x, int64_t g, bool transposed) {
  return {static_cast<const char*>(x.data) + g * x.stride(1) * int64_t(size_of(x.dtype)), x.dtype, x.stride(0),
          transposed};
}
inline Operand block_weight(const View& weight, int64_t g, bool transposed) {
  return {static_cast<const char*>(weight.data) + g * weight.stride(0) * int64_t(size_of(weight.dtype)), weight.dtype,
          weight.stride(1), transposed};
}

// y = x weight^T + bias; y (R,G,O) packed.
inline void block_product(const Context& ctx, const View& x, const View& weight, const View& bias, const View& y) {
  const int64_t blocks = weight.size(0), outputs = weight.size(1);
  with_float_type(y.dtype, [&]<class T>(T*) {
    with_float_type(bias.dtype, [&]<class TB>(TB*) {
      gemm_batch(ctx, blocks, x.size(0), outputs, x.size(2), [&](int64_t g) {
        const TB* b = bias ? static_cast<const TB*>(bias.data) + g * outputs : nullptr;
        return Problem<T, AddBias<TB>>{block_rows(x, g, false), block_weight(weight, g, true),
                                       static_cast<T*>(y.data) + g * outputs, blocks * outputs, AddBias<TB>{b}};
      });
    });
  });
}

// Gradients from dy (R,G,O), packed. Absent ones are left out; those given are packed.
inline void block_gradients(const Context& ctx, const View& dy, const View& x, const View& weight, const View& dx,
                            const View& dweight, const View& dbias) {
  const int64_t blocks = weight.size(0), outputs = weight.size(1), inputs = weight.size(2);
  const int64_t rows = x.size(0) / ctx.leaves;
  CHECK(rows * ctx.leaves == x.size(0), "block_linear: {} rows do not divide into {} leaves", x.size(0), ctx.leaves);
  CHECK(dy.packed(1), "block_linear: the rows of dy must be packed");
  if (dx)
    with_float_type(dx.dtype, [&]<class T>(T*) {
      gemm_batch(ctx, blocks, x.size(0), inputs, outputs, [&](int64_t g) {
        return Problem<T>{block_rows(dy, g, false), block_weight(weight, g, false),
                          static_cast<T*>(dx.data) + g * inputs, blocks * inputs};
      });
    });
  if (dweight)
    gemm_batch(ctx, ctx.leaves * blocks, outputs, inputs, rows, [&](int64_t t) {
      const int64_t leaf = t / blocks, g = t % blocks;
      return Problem<float>{block_rows(dy, g, true).block(0, leaf * rows),
                            block_rows(x, g, false).block(leaf * rows, 0),
                            dweight.as<float>() + t * outputs * inputs, inputs};
    });
  if (dbias)
    with_float_type(dy.dtype, [&]<class T>(T*) {
      const T* d = static_cast<const T*>(dy.data);
      column_chains(ctx, rows, View(dbias.data, DType::f32, {ctx.leaves, blocks * outputs}),
                    [&](f32v& sum, int64_t r, int64_t c, auto n) { sum = sum + load_n(d + r * dy.stride(0) + c, n); });
    });
}

}  // namespace dr::DR_ISA
