#include "kernels/linear/linear_kernels.h"

namespace dr {

using namespace DR_ISA;

template <>
void Linear::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(out.y.dtype, [&]<class T>(T*) {
    if (!in.bias) linear_product<T>(ctx, in.x, in.weight, out.y, NoEpilogue{});
    else with_bias(in.bias, [&](auto add_bias) { linear_product<T>(ctx, in.x, in.weight, out.y, add_bias); });
  });
}

template <>
void Linear::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  with_float_type(dy.y.dtype, [&]<class T>(T*) {
    linear_gradients(ctx, static_cast<const T*>(dy.y.data), flat_rows(dy.y, "linear: dy").stride, in.x, in.weight,
                     grad.x, grad.weight, grad.bias);
  });
}

}  // namespace dr
