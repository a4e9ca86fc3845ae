#include "kernels/relu/relu.h"
#include "kernels/relu/relu_math.h"

#include "kernels/core/elementwise.h"

namespace dr {

using namespace DR_ISA;

template <>
void Relu::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    elementwise<T>(ctx, out.y, [](f32v x) { return where_positive(x, x); }, in.x);
  });
}

template <>
void Relu::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  if (!grad.x) return;
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    elementwise<T>(ctx, grad.x, [](f32v x, f32v d) { return where_positive(x, d); }, in.x, dy.y);
  });
}

}  // namespace dr
