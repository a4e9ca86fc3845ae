#include "kernels/slice/slice.h"

#include "kernels/core/gpu_strided.h"

namespace dr {

using namespace DR_BACKEND;

template <>
void Slice::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  copy_view(ctx, part_of(in.x), out.y);
}

template <>
void Slice::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  if (!grad.x) return;
  const int a = axis_of(in.x.rank());
  if (step == 1) {  // every element is written once
    clear_view(ctx, grad.x.slice(a, 0, begin));
    clear_view(ctx, grad.x.slice(a, begin + length, in.x.size(a) - begin - length));
  } else {
    clear_view(ctx, grad.x);
  }
  copy_view(ctx, dy.y, part_of(grad.x));
}

}  // namespace dr
