#include "kernels/scatter_add/scatter_add.h"

#include "kernels/gather/gpu_indexed_rows.h"

namespace dr {

using namespace DR_BACKEND;

template <>
void ScatterAdd::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  scatter_rows(ctx, in.x, in.index, out.y, name);
}

template <>
void ScatterAdd::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  if (grad.x) gather_rows(ctx, dy.y, in.index, grad.x, name);
}

}  // namespace dr
