#include "kernels/linear/gpu_linear.h"

#include "kernels/core/gpu_rows.h"

namespace dr {
namespace DR_BACKEND {
namespace {

template <class T>
struct AddElement {
  RowsOf<const T> x;
  DR_DEVICE void operator()(int64_t r, int64_t c, float (&sums)[1]) const { sums[0] = sums[0] + load1(x.row(r) + c); }
};

// Adds the sums of more chunks.
struct GoOn {
  const float* of_chunks;
  int64_t chunks, cols;
  float* total;
  DR_DEVICE void operator()(int64_t c) const {
    float sum = total[c];
    for (int64_t i = 0; i < chunks; i++) sum = sum + of_chunks[i * cols + c];
    total[c] = sum;
  }
};

}  // namespace

void linear_product(const Context& ctx, const View& x, const View& weight, const View& bias, const View& y,
                    size_t scratch) {
  StoreMatrix store = store_rows(y);
  add_bias(store, bias);
  multiply(ctx, 1, flat_rows(x, "linear").count, weight.size(0), weight.size(1), row_operand(x), operand(weight, true),
           store, gemm_scratch(ctx, scratch));
}

void leaf_column_sums(const Context& ctx, const View& dy, const View& sums, size_t scratch, bool goes_on) {
  if (!sums) return;
  const FlatRows rows = flat_rows(dy, "linear");
  const int64_t cols = sums.size(1);
  with_float_type(dy.dtype, [&]<class T>(T*) {
    const auto add = [&](int64_t groups, int64_t first, int64_t count, const View& to, size_t rest) {
      const View list[] = {to};
      column_sums(ctx, RowGroups(groups, count, cols), list,
                  AddElement<T>{{static_cast<const T*>(dy.data) + first * rows.stride, rows.stride}}, rest);
    };
    if (!goes_on) return add(ctx.leaves, 0, rows.count, sums, scratch);
    const int64_t whole = rows.count / kChainChunk, chunks = (rows.count + kChainChunk - 1) / kChainChunk;
    const View of_chunks(ctx.scratch_as<float>(size_t(chunks * cols), scratch), DType::f32, {chunks, cols});
    add(whole, 0, whole * kChainChunk, of_chunks, scratch + of_chunks.bytes());
    if (chunks > whole)
      add(1, whole * kChainChunk, rows.count - whole * kChainChunk, of_chunks.slice(0, whole, 1),
          scratch + of_chunks.bytes());
    for_each(ctx, cols, GoOn{of_chunks.as<float>(), chunks, cols, sums.as<float>()});
  });
}

void linear_gradients(const Context& ctx, const View& dy, const View& x, const View& weight, const View& dx,
                      const View& dweight, const View& dbias, size_t scratch, bool goes_on) {
  const FlatRows xr = flat_rows(x, "linear");
  const int64_t n = weight.size(0), k = weight.size(1), rows = xr.count / ctx.leaves;
  CHECK(rows * ctx.leaves == xr.count, "linear: {} rows do not divide into {} leaves", xr.count, ctx.leaves);
  if (dx)
    multiply(ctx, 1, xr.count, k, n, row_operand(dy), operand(weight, false), store_rows(dx),
             gemm_scratch(ctx, scratch));
  if (dweight) {
    Operand d = row_operand(dy, true), rows_of_x = row_operand(x);
    for (Operand* o : {&d, &rows_of_x}) o->batch.sizes[3] = ctx.leaves, o->batch.strides[3] = rows * o->ld;
    StoreMatrix store = store_matrix(dweight);
    store.goes_on = goes_on;
    multiply(ctx, ctx.leaves, n, k, rows, d, rows_of_x, store, gemm_scratch(ctx, scratch));
  }
  leaf_column_sums(ctx, dy, dbias, scratch, goes_on);
}

}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void Linear::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  linear_product(ctx, in.x, in.weight, in.bias, out.y);
}

template <>
void Linear::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  linear_gradients(ctx, dy.y, in.x, in.weight, grad.x, grad.weight, grad.bias);
}

}  // namespace dr
