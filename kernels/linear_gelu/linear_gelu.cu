#include "kernels/linear_gelu/linear_gelu.h"
#include "kernels/gelu/gelu_math.h"

#include "kernels/linear/gpu_linear.h"

namespace dr {
namespace DR_BACKEND {
namespace {

// Behind the product, not inside it: its exponentials would take the registers that sums need.
struct Value {
  DR_DEVICE float operator()(int64_t, int64_t, float pre) const { return gelu_tanh(pre); }
};
struct Slope {
  DR_DEVICE float operator()(int64_t, int64_t, float pre, float dy) const { return dy * gelu_tanh_derivative(pre); }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void LinearGelu::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  linear_product(ctx, in.x, in.weight, in.bias, out.pre);
  with_float_type(out.y.dtype, [&]<class T>(T*) {
    map_rows(ctx, flat_rows(out.y, name).count, in.weight.size(0), flat<T>(out.y), Value{}, flat<const float>(out.pre));
  });
}

template <>
void LinearGelu::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                    const Grad& grad) const {
  const int64_t rows = flat_rows(dy.y, name).count, cols = in.weight.size(0);
  const View dpre(ctx.scratch_as<float>(size_t(rows * cols)), DType::f32, {rows, cols});
  with_float_type(dy.y.dtype, [&]<class T>(T*) {
    map_rows(ctx, rows, cols, flat<float>(dpre), Slope{}, flat<const float>(saved.pre), flat<const T>(dy.y));
  });
  linear_gradients(ctx, dpre, in.x, in.weight, grad.x, grad.weight, grad.bias, scratch_bytes(in, 1));
}

}  // namespace dr
