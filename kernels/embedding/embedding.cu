#include "kernels/embedding/embedding.h"

#include "kernels/gather/gpu_indexed_rows.h"

namespace dr {

using namespace DR_BACKEND;

template <>
void Embedding::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t rows = in.table.size(0), cols = in.table.size(1), places = in.ids.count();
  gather_rows(ctx, View(in.table.data, in.table.dtype, {1, rows, cols}), View(in.ids.data, DType::i32, {places}),
              View(out.y.data, out.y.dtype, {1, places, cols}), name, 0);
}

template <>
void Embedding::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  if (!grad.table) return;
  const int64_t rows = in.table.size(0), cols = in.table.size(1), places = in.ids.count() / ctx.leaves;
  CHECK(places * ctx.leaves == in.ids.count() && dy.y.packed(),
        "embedding: {} ids do not divide into {} leaves, or dy is not packed", in.ids.count(), ctx.leaves);
  const View ids(in.ids.data, DType::i32, {ctx.leaves, places}), dys(dy.y.data, dy.y.dtype, {ctx.leaves, places, cols}),
      sums(grad.table.data, DType::f32, {ctx.leaves, rows, cols});
  for (int64_t leaf = 0; leaf < ctx.leaves; leaf++)
    scatter_rows(ctx, dys.slice(0, leaf, 1), ids.slice(0, leaf, 1), sums.slice(0, leaf, 1), name, 0);
}

}  // namespace dr
