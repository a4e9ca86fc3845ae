#pragma once
// The GEMMs of a linear layer, for Linear and for the ops with more fused behind it. Last include of a `_cpu.cpp`.

#include "kernels/linear/linear.h"

#include "kernels/core/gemm.h"

namespace dr::DR_ISA {

// value + bias; a null bias adds nothing.
template <class T>
struct AddBias {
  const T* bias;

  template <class N>
  DR_INLINE f32v operator()(int64_t, int64_t column, f32v value, N n) const {
    return bias ? value + load_n(bias + column, n) : value;
  }
  const float* row_to_add(int64_t column) const
    requires std::is_same_v<T, float>
  {
    return bias ? bias + column : nullptr;
  }
};

// Calls f(AddBias) for a bias of either type; an absent one counts as f32.
template <class F>
void with_bias(const View& bias, F&& f) {
  with_float_type(bias.dtype, [&]<class T>(T*) { f(AddBias<T>{static_cast<const T*>(bias.data)}); });
}

// y[r,n] = epilogue(r, n, sum_k x[r,k] weight[n,k]); y holds T.
template <class T, class Epilogue>
void linear_product(const Context& ctx, const View& x, const View& weight, const View& y, const Epilogue& epilogue) {
  const FlatRows xr = flat_rows(x, "linear"), yr = flat_rows(y, "linear");
  gemm_batch(ctx, 1, yr.count, weight.size(0), weight.size(1), [&](int64_t) {
    return Problem<T, Epilogue>{{x.data, x.dtype, xr.stride, false},
                                {weight.data, weight.dtype, weight.stride(0), true},
                                static_cast<T*>(y.data),
                                yr.stride,
                                epilogue};
  });
}

// out[g,c] = chain over the rows r of group g: chunks of 512 rows; inside a chunk term(sum, r, c, n) folds row r's
// columns c..c+n-1 into the chain; chunk sums are added in ascending order. out (groups, columns) f32; every group has
// `rows` rows.
template <class Term>
void column_chains(const Context& ctx, int64_t rows, const View& out, Term&& term) {
  constexpr int kVectors = 64 / W;  // 64 columns at a time: four cache lines of every f32 row
  const int64_t groups = out.size(0), columns = out.size(1), strips = (columns + 63) / 64;
  const int64_t grain = std::max<int64_t>(1, 8192 / (64 * std::max<int64_t>(rows, 1)));
  ctx.parallel(groups * strips, grain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; t++) {
      const int64_t group = t / strips, first = group * rows, c0 = t % strips * 64;
      float* const result = static_cast<float*>(out.data) + group * out.stride(0);
      // One pass down the rows for V vectors of columns; n is the number of columns in the last.
      auto pass = [&]<int V>(int64_t c, std::integral_constant<int, V>, auto n) {
        f32v sum[V] = {};
        for (int64_t base = 0; base < rows; base += kChainChunk) {
          f32v chunk[V] = {};
          const int64_t last = base + kChainChunk < rows ? base + kChainChunk : rows;
          for (int64_t r = first + base; r < first + last; r++) {
#pragma GCC unroll 16
            for (int j = 0; j < V; j++) term(chunk[j], r, c + j * W, n);
          }
          for (int j = 0; j < V; j++) sum[j] = base ? sum[j] + chunk[j] : chunk[j];
        }
        for (int j = 0; j < V; j++) store_n(result + c + j * W, sum[j], n);
      };
      if (c0 + 64 <= columns) {
        pass(c0, std::integral_constant<int, kVectors>{}, std::integral_constant<int, W>{});
      } else {
        for_vectors(columns - c0, [&](int64_t i, auto n) { pass(c0 + i, std::integral_constant<int, 1>{}, n); });
      }
    }
  });
}

// Gradients from dy, the gradient of x weight^T + bias: `rows` rows of TD, dy_stride apart. Absent ones are left out.
template <class TD>
void linear_gradients(const Context& ctx, const TD* dy, int64_t dy_stride, const View& x, const View& weight,
                      const View& dx, const View& dweight, const View& dbias) {
  const FlatRows xr = flat_rows(x, "linear");
  const int64_t n = weight.size(0), k = weight.size(1), rows = xr.count / ctx.leaves;
  CHECK(rows * ctx.leaves == xr.count, "linear: {} rows do not divide into {} leaves", xr.count, ctx.leaves);
  const Operand d{dy, dtype_of<TD>, dy_stride, false}, dt{dy, dtype_of<TD>, dy_stride, true};
  if (dx) {
    const int64_t dx_stride = flat_rows(dx, "linear").stride;
    with_float_type(dx.dtype, [&]<class T>(T*) {
      gemm_batch(ctx, 1, xr.count, k, n, [&](int64_t) {
        return Problem<T>{d, {weight.data, weight.dtype, weight.stride(0), false}, static_cast<T*>(dx.data), dx_stride};
      });
    });
  }
  if (dweight) {
    const Operand rows_of_x{x.data, x.dtype, xr.stride, false};
    gemm_batch(ctx, ctx.leaves, n, k, rows, [&](int64_t leaf) {
      return Problem<float>{dt.block(0, leaf * rows), rows_of_x.block(leaf * rows, 0),
                            static_cast<float*>(dweight.data) + leaf * dweight.stride(0), dweight.stride(1)};
    });
  }
  if (dbias)
    column_chains(ctx, rows, dbias,
                  [&](f32v& sum, int64_t r, int64_t c, auto count) { sum += load_n(dy + r * dy_stride + c, count); });
}

}  // namespace dr::DR_ISA
