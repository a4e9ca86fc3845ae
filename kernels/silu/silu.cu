#include "kernels/silu/silu.h"
#include "kernels/silu/silu_math.h"

#include "kernels/core/gpu_elementwise.h"

namespace dr {
namespace DR_BACKEND {
namespace {

struct Value {
  DR_DEVICE float operator()(float x) const { return silu(x); }
};
struct Slope {
  DR_DEVICE float operator()(float x, float d) const { return d * silu_derivative(x); }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void Silu::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(in.x.dtype, [&]<class T>(T*) { elementwise<T>(ctx, out.y, Value{}, in.x); });
}

template <>
void Silu::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  if (!grad.x) return;
  with_float_type(in.x.dtype, [&]<class T>(T*) { elementwise<T>(ctx, grad.x, Slope{}, in.x, dy.y); });
}

}  // namespace dr
