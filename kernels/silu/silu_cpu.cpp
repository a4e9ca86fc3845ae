#include "kernels/silu/silu.h"
#include "kernels/core/sigmoid.h"

#include "kernels/core/elementwise.h"

namespace dr {

using namespace DR_ISA;

template <>
void Silu::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(in.x.dtype,
                  [&]<class T>(T*) { elementwise<T>(ctx, out.y, [](f32v x) { return x * sigmoid(x); }, in.x); });
}

template <>
void Silu::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  if (!grad.x) return;
  auto derivative = [](f32v x, f32v d) {
    const f32v s = sigmoid(x);
    return d * (s * fma(x, splat(1.f) - s, splat(1.f)));
  };
  with_float_type(in.x.dtype, [&]<class T>(T*) { elementwise<T>(ctx, grad.x, derivative, in.x, dy.y); });
}

}  // namespace dr
