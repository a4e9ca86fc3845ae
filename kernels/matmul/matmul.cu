#include "kernels/matmul/matmul.h"

#include "kernels/core/gpu_gemm_fast.h"

namespace dr {
namespace DR_BACKEND {
namespace {

// c = op(a) op(b), op transposes where asked.
void multiply(const Context& ctx, const View& a, bool trans_a, const View& b, bool trans_b, const View& c) {
  const int rank = c.rank();
  GemmShape s{.batch = 1, .m = c.size(rank - 2), .n = c.size(rank - 1), .k = a.size(rank - (trans_a ? 2 : 1)),
              .a_along_k = !trans_a, .b_along_k = trans_b};
  for (int axis = 0; axis < rank - 2; axis++) s.batch *= c.size(axis);
  if (!fast_gemm(ctx, s, a, b, c)) gemm(ctx, s, operand(a, trans_a), operand(b, trans_b), store_matrix(c));
}

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

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
