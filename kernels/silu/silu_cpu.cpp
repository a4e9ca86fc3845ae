#include "kernels/silu/silu.h"
#include "kernels/silu/silu_math.h"

#include "kernels/core/elementwise.h"

namespace dr {

using namespace DR_ISA;

template <>
void Silu::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(in.x.dtype, [&]<class T>(T*) { elementwise<T>(ctx, out.y, [](f32v x) { return silu(x); }, in.x); });
}

template <>
void Silu::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  if (!grad.x) return;
  auto derivative = [](f32v x, f32v d) { return d * silu_derivative(x); };
  with_float_type(in.x.dtype, [&]<class T>(T*) { elementwise<T>(ctx, grad.x, derivative, in.x, dy.y); });
}

}  // namespace dr
