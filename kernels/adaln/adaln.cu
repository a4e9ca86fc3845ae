#include "kernels/adaln/adaln.h"

#include "kernels/adaln/gpu_modulation.h"

namespace dr {

using namespace DR_BACKEND;

template <>
void AdaLN::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t rows = RowGroups(in.shift.size(0), in.x.size(0), 0).rows;  // of a frame
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    norm_forward<T>(ctx, in.x, eps, gain_of(in.scale, rows), shift_of(in.shift, rows), out.y, out.mean, out.rstd);
  });
}

template <>
void AdaLN::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                               const Grad& grad) const {
  const NormBackward v{.x = in.x, .mean = saved.mean, .rstd = saved.rstd, .dy = dy.y,
                       .dx = grad.x, .dshift = grad.shift, .dgain = grad.scale,
                       .groups = RowGroups(in.shift.size(0), in.x.size(0), in.x.size(1))};
  with_float_type(in.x.dtype, [&]<class T>(T*) { norm_backward<T>(ctx, v, gain_of(in.scale, v.groups.rows)); });
}

}  // namespace dr
