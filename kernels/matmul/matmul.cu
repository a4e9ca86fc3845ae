#include "kernels/matmul/matmul.h"

#include "kernels/core/gpu_gemm.h"

namespace dr {
namespace DR_BACKEND {
namespace {

// c = op(a) op(b), op transposes where asked.
void product(const Context& ctx, const View& a, bool trans_a, const View& b, bool trans_b, const View& c) {
  const int rank = c.rank();
  int64_t batch = 1;
  for (int axis = 0; axis < rank - 2; axis++) batch *= c.size(axis);
  multiply(ctx, batch, c.size(rank - 2), c.size(rank - 1), a.size(rank - (trans_a ? 2 : 1)), operand(a, trans_a),
           operand(b, trans_b), store_matrix(c), gemm_scratch(ctx));
}

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void MatMul::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  product(ctx, in.a, trans_a, in.b, trans_b, out.y);
}

template <>
void MatMul::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  // A transposed operand gets its gradient transposed: (dY B^T)^T = B dY^T.
  if (grad.a) {
    if (trans_a) product(ctx, in.b, trans_b, dy.y, true, grad.a);
    else product(ctx, dy.y, false, in.b, !trans_b, grad.a);
  }
  if (grad.b) {
    if (trans_b) product(ctx, dy.y, true, in.a, trans_a, grad.b);
    else product(ctx, in.a, !trans_a, dy.y, false, grad.b);
  }
}

}  // namespace dr
