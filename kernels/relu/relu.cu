#include "kernels/relu/relu.h"
#include "kernels/relu/relu_math.h"

#include "kernels/core/gpu_elementwise.h"

namespace dr {
namespace DR_BACKEND {
namespace {

struct Value {
  DR_DEVICE float operator()(float x) const { return where_positive(x, x); }
};
struct Slope {
  DR_DEVICE float operator()(float x, float d) const { return where_positive(x, d); }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void Relu::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(in.x.dtype, [&]<class T>(T*) { elementwise<T>(ctx, out.y, Value{}, in.x); });
}

template <>
void Relu::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  if (!grad.x) return;
  with_float_type(in.x.dtype, [&]<class T>(T*) { elementwise<T>(ctx, grad.x, Slope{}, in.x, dy.y); });
}

}  // namespace dr
