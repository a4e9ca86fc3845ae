#include "kernels/patchify/patchify.h"

#include "kernels/patchify/gpu_patch_copy.h"

namespace dr {

using namespace DR_BACKEND;

template <>
void Patchify::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  copy_patches(ctx, layout(in), in.x, out.y, true);
}

template <>
void Patchify::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  if (grad.x) copy_patches(ctx, layout(in), grad.x, dy.y, false);
}

}  // namespace dr
