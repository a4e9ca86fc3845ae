#include "kernels/euler_step/euler_step.h"

#include "kernels/core/gpu_runs.h"

namespace dr {
namespace DR_BACKEND {
namespace {

template <class X, class V>
struct Step {
  RowsOf<const X> x;
  RowsOf<const V> v;
  RowsOf<X> y;
  const float* tau;
  DR_DEVICE void operator()(int64_t r, int64_t c, int n) const {
    const float dt = tau[0] - tau[1];
    const Run from = load_run(x.row(r) + c, n), velocity = load_run(v.row(r) + c, n);
    store_run(y.row(r) + c, make_run([&](int j) { return fma(dt, velocity.v[j], from.v[j]); }), n);
  }
};
template <class X, class V>
struct Gradients {
  const X* dy;
  X* dx;
  V* dv;  // null: not wanted, as dx
  const float* tau;
  DR_DEVICE void operator()(int64_t, int64_t c, int n) const {
    const float dt = tau[0] - tau[1];
    const Run d = load_run(dy + c, n);
    if (dx) store_run(dx + c, d, n);
    if (dv) store_run(dv + c, make_run([&](int j) { return dt * d.v[j]; }), n);
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void EulerStep::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_types(in.x.dtype, in.v.dtype, [&]<class X, class V>(X*, V*) {
    const Step<X, V> step{rows_of<const X>(in.x), rows_of<const V>(in.v), rows_of<X>(out.y), in.tau.as<float>()};
    for_runs_of(ctx, step, out.y, in.x, in.v);
  });
}

template <>
void EulerStep::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout,
                                   const Grad& grad) const {
  CHECK(dout.y.packed() && grad.x.packed() && grad.v.packed(), "euler_step: gradients must be packed");
  with_float_types(in.x.dtype, in.v.dtype, [&]<class X, class V>(X*, V*) {
    for_runs(ctx, 1, in.x.count(),
             Gradients<X, V>{static_cast<const X*>(dout.y.data), static_cast<X*>(grad.x.data),
                             static_cast<V*>(grad.v.data), in.tau.as<float>()});
  });
}

}  // namespace dr
