#include "kernels/matmul/matmul.h"
#include "kernels/core/gemm.h"

namespace dr {
namespace DR_ISA {
namespace {

// Offset in elements of matrix i of a batch, counted over the leading axes in row-major order.
int64_t matrix_offset(const View& v, int64_t i) {
  int64_t offset = 0;
  for (int axis = v.rank() - 3; axis >= 0; axis--) {
    offset += i % v.size(axis) * v.stride(axis);
    i /= v.size(axis);
  }
  return offset;
}

Operand matrix(const View& v, int64_t i, bool transposed) {
  return {static_cast<const char*>(v.data) + matrix_offset(v, i) * int64_t(size_of(v.dtype)), v.dtype, v.stride(-2),
          transposed};
}

// c = op(a) op(b), op transposes where asked.
void multiply(const Context& ctx, const View& a, bool trans_a, const View& b, bool trans_b, const View& c) {
  const int rank = c.rank();
  const int64_t m = c.size(rank - 2), n = c.size(rank - 1), k = a.size(rank - (trans_a ? 2 : 1));
  int64_t batch = 1;
  for (int axis = 0; axis < rank - 2; axis++) batch *= c.size(axis);
  with_float_type(c.dtype, [&]<class T>(T*) {
    gemm_batch(ctx, batch, m, n, k, [&](int64_t i) {
      return Problem<T>{matrix(a, i, trans_a), matrix(b, i, trans_b), static_cast<T*>(c.data) + matrix_offset(c, i),
                        c.stride(-2)};
    });
  });
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void MatMul::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  multiply(ctx, in.a, trans_a, in.b, trans_b, out.y);
}

template <>
void MatMul::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  // A transposed operand gets its gradient transposed: (dY B^T)^T = B dY^T.
  if (grad.a) {
    if (trans_a) multiply(ctx, in.b, trans_b, dy.y, true, grad.a);
    else multiply(ctx, dy.y, false, in.b, !trans_b, grad.a);
  }
  if (grad.b) {
    if (trans_b) multiply(ctx, dy.y, true, in.a, trans_a, grad.b);
    else multiply(ctx, in.a, !trans_a, dy.y, false, grad.b);
  }
}

}  // namespace dr
