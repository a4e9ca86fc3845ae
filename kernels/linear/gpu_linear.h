#pragma once
// The products of a linear layer on a device, for Linear and for the ops with more fused around it, as linear_kernels.h
// has them for the CPU; compiled once, in linear.cu. Scratch from byte `scratch` on: linear_device_scratch. Last
// include of a `.cu`, as gpu.h.

#include "kernels/linear/linear.h"

#include "kernels/core/gpu_gemm.h"
#include "kernels/core/gpu_map_rows.h"

namespace dr::DR_BACKEND {

// The rows of a tensor as a matrix.
template <class T>
RowsOf<T> flat(const View& v) {
  return {static_cast<T*>(v.data), flat_rows(v, "linear").stride};
}
inline Operand row_operand(const View& v, bool transposed = false) {
  return {v.data, v.dtype == DType::bf16, transposed, flat_rows(v, "linear").stride, {}};
}
inline StoreMatrix store_rows(const View& v) {
  return {v.data, v.dtype == DType::bf16, flat_rows(v, "linear").stride, {}};
}
inline void add_bias(StoreMatrix& c, const View& bias) {
  c.bias = bias.data;
  c.bias_is_bf16 = bias.dtype == DType::bf16;
}

// y = x weight^T + bias, which may be absent.
void linear_product(const Context&, const View& x, const View& weight, const View& bias, const View& y,
                    size_t scratch = 0);

// Column sums of a leaf's rows: chunks of 512, a chain of additions inside. goes_on: what is there are the sums of
// whole chunks of the one leaf's rows before these.
void leaf_column_sums(const Context&, const View& dy, const View& sums, size_t scratch = 0, bool goes_on = false);

// Gradients from dy, the gradient of x weight^T + bias. Absent ones are left out. goes_on: as above, for dweight and
// dbias.
void linear_gradients(const Context&, const View& dy, const View& x, const View& weight, const View& dx,
                      const View& dweight, const View& dbias, size_t scratch = 0, bool goes_on = false);

}  // namespace dr::DR_BACKEND
