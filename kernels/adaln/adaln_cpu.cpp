#include "kernels/adaln/adaln.h"
#include "kernels/core/row_stats.h"

namespace dr {

using namespace DR_ISA;

template <>
void AdaLN::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t rows = RowGroups(in.shift.size(0), in.x.size(0), 0).rows;  // of a frame
  auto gain = [&](int64_t r) {
    return [p = row_of<const float>(in.scale, r / rows)](int64_t i, auto n) { return splat(1.f) + load_n(p + i, n); };
  };
  auto shift = [&](int64_t r) {
    return [p = row_of<const float>(in.shift, r / rows)](int64_t i, auto n) { return load_n(p + i, n); };
  };
  with_float_type(in.x.dtype,
                  [&]<class T>(T*) { norm_forward<T>(ctx, in.x, eps, gain, shift, out.y, out.mean, out.rstd); });
}

template <>
void AdaLN::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                               const Grad& grad) const {
  const NormBackward v{.x = in.x, .mean = saved.mean, .rstd = saved.rstd, .dy = dy.y,
                       .dx = grad.x, .dshift = grad.shift, .dgain = grad.scale,
                       .groups = RowGroups(in.shift.size(0), in.x.size(0), in.x.size(1))};
  auto gain = [&](int64_t r) {
    return [p = row_of<const float>(in.scale, r / v.groups.rows)](int64_t i, auto n) {
      return splat(1.f) + load_n(p + i, n);
    };
  };
  with_float_type(in.x.dtype, [&]<class T>(T*) { norm_backward<T>(ctx, v, gain); });
}

}  // namespace dr
