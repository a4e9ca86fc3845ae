#include "kernels/adaln_linear/adaln_linear.h"

#include "kernels/adaln/gpu_modulation.h"
#include "kernels/linear/gpu_linear.h"

namespace dr {

using namespace DR_BACKEND;

template <>
void AdaLNLinear::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t rows = RowGroups(in.shift.size(0), in.x.size(0), 0).rows;  // of a frame
  const View a(ctx.scratch_as<float>(size_t(in.x.count())), DType::f32, in.x.sizes);
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    norm_forward<T, float>(ctx, in.x, eps, gain_of(in.scale, rows), shift_of(in.shift, rows), a, out.mean, out.rstd);
  });
  linear_product(ctx, a, in.weight, in.bias, out.y, rows_bytes(in));
}

template <>
void AdaLNLinear::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                     const Grad& grad) const {
  const RowGroups frames(in.shift.size(0), in.x.size(0), in.x.size(1));
  const View a(ctx.scratch_as<float>(size_t(in.x.count())), DType::f32, in.x.sizes);
  const ModulationRows gain = gain_of(in.scale, frames.rows);
  if (grad.weight) norm_again(ctx, in.x, saved.mean, saved.rstd, gain, shift_of(in.shift, frames.rows), a);
  linear_gradients(ctx, dy.y, a, in.weight, {}, grad.weight, grad.bias, rows_bytes(in));
  if (!grad.x && !grad.shift && !grad.scale) return;
  linear_gradients(ctx, dy.y, a, in.weight, a, {}, {}, rows_bytes(in));  // da takes a's place
  Context rest = ctx;
  rest.scratch = ctx.scratch.subspan(rows_bytes(in));
  const NormBackward v{.x = in.x, .mean = saved.mean, .rstd = saved.rstd, .dy = a,
                       .dx = grad.x, .dshift = grad.shift, .dgain = grad.scale, .groups = frames};
  with_float_type(in.x.dtype, [&]<class T>(T*) { norm_backward<T, float>(rest, v, gain); });
}

}  // namespace dr
