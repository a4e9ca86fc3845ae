#include "kernels/rms_norm/rms_norm.h"

#include "kernels/core/gpu_norm.h"

namespace dr {

using namespace DR_BACKEND;

template <>
void RmsNorm::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    norm_forward<T>(ctx, in.x, eps, per_column(in.weight, 1), per_column({}, 0), out.y, {}, out.rstd);
  });
}

template <>
void RmsNorm::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                 const Grad& grad) const {
  CHECK(ctx.leaves > 0 && in.x.size(0) % ctx.leaves == 0, "rms_norm: {} rows do not divide into {} leaves",
        in.x.size(0), ctx.leaves);
  const NormBackward v{.x = in.x, .mean = {}, .rstd = saved.rstd, .dy = dy.y,
                       .dx = grad.x, .dshift = {}, .dgain = grad.weight,
                       .groups = RowGroups(ctx.leaves, in.x.size(0), in.x.size(1))};
  with_float_type(in.x.dtype, [&]<class T>(T*) { norm_backward<T>(ctx, v, per_column(in.weight, 1)); });
}

}  // namespace dr
