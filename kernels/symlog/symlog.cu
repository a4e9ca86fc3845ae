#include "kernels/symlog/symlog.h"
#include "kernels/symlog/symlog_math.h"

#include "kernels/core/gpu_elementwise.h"

namespace dr {
namespace DR_BACKEND {
namespace {

struct Value {
  SymLogKind kind;
  DR_DEVICE float operator()(float x) const { return symlog_value(kind, x); }
};
struct Slope {
  SymLogKind kind;
  DR_DEVICE float operator()(float x, float d) const { return symlog_gradient(kind, x, d); }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void SymLog::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(in.x.dtype, [&]<class T>(T*) { elementwise<T>(ctx, out.y, Value{kind}, in.x); });
}

template <>
void SymLog::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  if (!grad.x) return;
  with_float_type(in.x.dtype, [&]<class T>(T*) { elementwise<T>(ctx, grad.x, Slope{kind}, in.x, dy.y); });
}

}  // namespace dr
