#include "kernels/rms_norm/rms_norm.h"
#include "kernels/core/row_stats.h"

namespace dr {

using namespace DR_ISA;

template <>
void RmsNorm::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const PerColumn weight(in.weight, 1.f), zero({}, 0.f);
  with_float_type(in.x.dtype,
                  [&]<class T>(T*) { norm_forward<T>(ctx, in.x, eps, weight, zero, out.y, {}, out.rstd); });
}

template <>
void RmsNorm::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                 const Grad& grad) const {
  CHECK(ctx.leaves > 0 && in.x.size(0) % ctx.leaves == 0, "rms_norm: {} rows do not divide into {} leaves",
        in.x.size(0), ctx.leaves);
  const NormBackward v{.x = in.x, .mean = {}, .rstd = saved.rstd, .dy = dy.y,
                       .dx = grad.x, .dshift = {}, .dgain = grad.weight,
                       .groups = RowGroups(ctx.leaves, in.x.size(0), in.x.size(1))};
  with_float_type(in.x.dtype, [&]<class T>(T*) { norm_backward<T>(ctx, v, PerColumn(in.weight, 1.f)); });
}

}  // namespace dr
