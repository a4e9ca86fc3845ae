#include "kernels/unpatchify/unpatchify.h"

#include "kernels/patchify/gpu_patch_copy.h"

namespace dr {

using namespace DR_BACKEND;

template <>
void Unpatchify::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  copy_patches(ctx, layout(in), out.y, in.x, false);
}

template <>
void Unpatchify::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  if (grad.x) copy_patches(ctx, layout(in), dy.y, grad.x, true);
}

}  // namespace dr
