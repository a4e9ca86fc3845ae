#include "kernels/gelu/gelu.h"
#include "kernels/gelu/gelu_math.h"

#include "kernels/core/elementwise.h"

namespace dr {
namespace DR_ISA {
namespace {

template <class F>
void with_kind(GeluKind kind, F&& f) {
  if (kind == GeluKind::tanh) f.template operator()<GeluKind::tanh>();
  else f.template operator()<GeluKind::erf>();
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void Gelu::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_kind(kind, [&]<GeluKind K>() {
    with_float_type(in.x.dtype, [&]<class T>(T*) {
      elementwise<T>(ctx, out.y, [](f32v x) { return gelu_value(K, x); }, in.x);
    });
  });
}

template <>
void Gelu::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  if (!grad.x) return;
  with_kind(kind, [&]<GeluKind K>() {
    with_float_type(in.x.dtype, [&]<class T>(T*) {
      elementwise<T>(ctx, grad.x, [](f32v x, f32v d) { return d * gelu_derivative(K, x); }, in.x, dy.y);
    });
  });
}

}  // namespace dr
