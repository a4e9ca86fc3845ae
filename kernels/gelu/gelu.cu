#include "kernels/gelu/gelu.h"
#include "kernels/gelu/gelu_math.h"

#include "kernels/core/gpu_elementwise.h"

namespace dr {
namespace DR_BACKEND {
namespace {

struct Value {
  GeluKind kind;
  DR_DEVICE float operator()(float x) const { return gelu_value(kind, x); }
};
struct Slope {
  GeluKind kind;
  DR_DEVICE float operator()(float x, float d) const { return d * gelu_derivative(kind, x); }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void Gelu::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(in.x.dtype, [&]<class T>(T*) { elementwise<T>(ctx, out.y, Value{kind}, in.x); });
}

template <>
void Gelu::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  if (!grad.x) return;
  with_float_type(in.x.dtype, [&]<class T>(T*) { elementwise<T>(ctx, grad.x, Slope{kind}, in.x, dy.y); });
}

}  // namespace dr
