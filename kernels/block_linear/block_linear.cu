#include "kernels/block_linear/block_linear.h"
#include "kernels/linear/linear.h"

#include "kernels/block_linear/gpu_block_linear.h"
#include "kernels/linear/gpu_linear.h"

namespace dr {
namespace DR_BACKEND {
namespace {

// Block g of (R,G,I) as a matrix of R rows, problem l G + g being that of the rows of leaf l.
Operand block_rows(const View& x, int64_t leaf_rows, int64_t leaves, bool transposed) {
  return {x.data, x.dtype == DType::bf16, transposed, x.stride(0),
          {{1, 1, leaves, x.size(1)}, {0, 0, leaf_rows * x.stride(0), x.stride(1)}}};
}
Operand block_weight(const View& weight, bool transposed) {
  return {weight.data, weight.dtype == DType::bf16, transposed, weight.stride(1),
          {{1, 1, 1, weight.size(0)}, {0, 0, 0, weight.stride(0)}}};
}
// y (R,G,O), packed.
StoreMatrix store_blocks(const View& y) {
  return {y.data, y.dtype == DType::bf16, y.size(1) * y.size(2),
          {{{1, 1, 1, y.size(1)}, {0, 0, 0, y.size(2)}}, y.size(2)}};
}

}  // namespace

void block_product(const Context& ctx, const View& x, const View& weight, const View& bias, const View& y,
                   size_t scratch) {
  StoreMatrix store = store_blocks(y);
  add_bias(store, bias);
  multiply(ctx, weight.size(0), x.size(0), weight.size(1), weight.size(2), block_rows(x, 0, 1, false),
           block_weight(weight, true), store, gemm_scratch(ctx, scratch));
}

void block_gradients(const Context& ctx, const View& dy, const View& x, const View& weight, const View& dx,
                     const View& dweight, const View& dbias, size_t scratch) {
  const int64_t blocks = weight.size(0), outputs = weight.size(1), inputs = weight.size(2);
  const int64_t leaves = ctx.leaves, rows = x.size(0) / leaves;
  CHECK(rows * leaves == x.size(0), "block_linear: {} rows do not divide into {} leaves", x.size(0), leaves);
  CHECK(dy.packed(1), "block_linear: the rows of dy must be packed");
  if (dx)
    multiply(ctx, blocks, x.size(0), inputs, outputs, block_rows(dy, 0, 1, false), block_weight(weight, false),
             store_blocks(dx), gemm_scratch(ctx, scratch));
  if (dweight)
    multiply(ctx, leaves * blocks, outputs, inputs, rows, block_rows(dy, rows, leaves, true),
             block_rows(x, rows, leaves, false),
             {dweight.data, false, inputs, {{{1, 1, 1, leaves * blocks}, {0, 0, 0, outputs * inputs}}, 0}},
             gemm_scratch(ctx, scratch));
  if (dbias) {
    View rows_of_dy = dy;
    rows_of_dy.sizes = {dy.size(0), blocks * outputs};
    rows_of_dy.strides = {dy.stride(0), 1};
    leaf_column_sums(ctx, rows_of_dy, View(dbias.data, DType::f32, {leaves, blocks * outputs}), scratch);
  }
}

}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void BlockLinear::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  block_product(ctx, in.x, in.weight, in.bias, out.y);
}

template <>
void BlockLinear::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy,
                                     const Grad& grad) const {
  block_gradients(ctx, dy.y, in.x, in.weight, grad.x, grad.weight, grad.bias);
}

}  // namespace dr
