#include "kernels/linear_gelu/linear_gelu.h"

#include "kernels/gelu/gpu_gelu.h"
#include "kernels/linear/gpu_linear.h"

namespace dr {

using namespace DR_BACKEND;

template <>
void LinearGelu::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  linear_product(ctx, in.x, in.weight, in.bias, out.pre);
  with_float_type(out.y.dtype, [&]<class T>(T*) {
    map_rows(ctx, flat_rows(out.y, name).count, in.weight.size(0), flat<T>(out.y), GeluOf{},
             flat<const float>(out.pre));
  });
}

template <>
void LinearGelu::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                    const Grad& grad) const {
  const int64_t rows = flat_rows(dy.y, name).count, cols = in.weight.size(0);
  const View dpre(ctx.scratch_as<float>(size_t(rows * cols)), DType::f32, {rows, cols});
  with_float_type(dy.y.dtype, [&]<class T>(T*) {
    map_rows(ctx, rows, cols, flat<float>(dpre), GeluBack{}, flat<const float>(saved.pre), flat<const T>(dy.y));
  });
  linear_gradients(ctx, dpre, in.x, in.weight, grad.x, grad.weight, grad.bias, scratch_bytes(in, 1));
}

}  // namespace dr
