#include "kernels/concat/concat.h"

#include "kernels/core/strided_runs.h"

namespace dr {

using namespace DR_ISA;

template <>
void Concat::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  for_parts(in, out.y, [&](size_t i, const View& part) { copy_view(ctx, *views(in)[i], part, out.y); });
}

template <>
void Concat::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  for_parts(in, dy.y, [&](size_t i, const View& part) {
    const View& dx = *views(grad)[i];
    if (dx) copy_view(ctx, part, dx);
  });
}

}  // namespace dr
