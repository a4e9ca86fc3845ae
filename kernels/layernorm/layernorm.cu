#include "kernels/layernorm/layernorm.h"

#include "kernels/core/gpu_norm.h"

namespace dr {

using namespace DR_BACKEND;

template <>
void LayerNorm::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    norm_forward<T>(ctx, in.x, eps, per_column(in.weight, 1), per_column(in.bias, 0), out.y, out.mean, out.rstd);
  });
}

template <>
void LayerNorm::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                   const Grad& grad) const {
  CHECK(ctx.leaves > 0 && in.x.size(0) % ctx.leaves == 0, "layernorm: {} rows do not divide into {} leaves",
        in.x.size(0), ctx.leaves);
  const NormBackward v{.x = in.x, .mean = saved.mean, .rstd = saved.rstd, .dy = dy.y,
                       .dx = grad.x, .dshift = grad.bias, .dgain = grad.weight,
                       .groups = RowGroups(ctx.leaves, in.x.size(0), in.x.size(1))};
  with_float_type(in.x.dtype, [&]<class T>(T*) { norm_backward<T>(ctx, v, per_column(in.weight, 1)); });
}

}  // namespace dr
