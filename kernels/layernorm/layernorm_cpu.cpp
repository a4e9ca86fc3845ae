#include "kernels/layernorm/layernorm.h"
#include "kernels/core/row_stats.h"

namespace dr {
using namespace DR_ISA;

template <>
void LayerNorm::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const PerColumn weight(in.weight, 1.f), bias(in.bias, 0.f);
  with_float_type(in.x.dtype,
                  [&]<class T>(T*) { norm_forward<T>(ctx, in.x, eps, weight, bias, out.y, out.mean, out.rstd); });
}

template <>
void LayerNorm::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                   const Grad& grad) const {
  CHECK(ctx.leaves > 0 && in.x.size(0) % ctx.leaves == 0, "layernorm: {} rows do not divide into {} leaves",
        in.x.size(0), ctx.leaves);
  const NormBackward v{.x = in.x, .mean = saved.mean, .rstd = saved.rstd, .dy = dy.y,
                       .dx = grad.x, .dshift = grad.bias, .dgain = grad.weight,
                       .groups = RowGroups(ctx.leaves, in.x.size(0), in.x.size(1))};
  with_float_type(in.x.dtype, [&]<class T>(T*) { norm_backward<T>(ctx, v, PerColumn(in.weight, 1.f)); });
}

}  // namespace dr
