#include "kernels/gather/gpu_indexed_rows.h"

namespace dr {

using namespace DR_BACKEND;

template <>
void Gather::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  gather_rows(ctx, in.x, in.index, out.y, name);
}

template <>
void Gather::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  if (grad.x) scatter_rows(ctx, dy.y, in.index, grad.x, name);
}

}  // namespace dr
