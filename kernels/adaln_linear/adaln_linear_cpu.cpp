#include "kernels/adaln_linear/adaln_linear.h"
#include "kernels/adaln/modulation.h"

#include "kernels/linear/linear_kernels.h"

namespace dr {

using namespace DR_ISA;

template <>
void AdaLNLinear::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t rows = RowGroups(in.shift.size(0), in.x.size(0), 0).rows;  // of a frame
  const View a(ctx.scratch_as<float>(size_t(in.x.count())), DType::f32, in.x.sizes);
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    norm_forward<T, float>(ctx, in.x, eps, gain_of(in.scale, rows), shift_of(in.shift, rows), a, out.mean, out.rstd);
    with_bias(in.bias, [&](auto add_bias) { linear_product<T>(ctx, a, in.weight, out.y, add_bias); });
  });
}

template <>
void AdaLNLinear::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                     const Grad& grad) const {
  const RowGroups frames(in.shift.size(0), in.x.size(0), in.x.size(1));
  const View a(ctx.scratch_as<float>(size_t(in.x.count())), DType::f32, in.x.sizes);
  const auto gain = gain_of(in.scale, frames.rows);
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    const T* const d = static_cast<const T*>(dy.y.data);
    const int64_t stride = flat_rows(dy.y, name).stride;
    if (grad.weight || grad.bias) {
      norm_again<T, float>(ctx, in.x, saved.mean, saved.rstd, gain, shift_of(in.shift, frames.rows), a);
      linear_gradients(ctx, d, stride, a, in.weight, {}, grad.weight, grad.bias);
    }
    if (!grad.x && !grad.shift && !grad.scale) return;
    linear_gradients(ctx, d, stride, a, in.weight, a, {}, {});  // da takes a's place
    Context rest = ctx;
    rest.scratch = ctx.scratch.subspan(rows_bytes(in));
    const NormBackward v{.x = in.x, .mean = saved.mean, .rstd = saved.rstd, .dy = a,
                         .dx = grad.x, .dshift = grad.shift, .dgain = grad.scale, .groups = frames};
    norm_backward<T, float>(rest, v, gain);
  });
}

}  // namespace dr
