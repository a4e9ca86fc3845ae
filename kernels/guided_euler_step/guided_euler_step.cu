#include "kernels/guided_euler_step/guided_euler_step.h"
#include "kernels/guided_euler_step/guidance.h"

#include "kernels/core/gpu_runs.h"

namespace dr {
namespace DR_BACKEND {
namespace {

template <class X, class V>
struct Step {
  RowsOf<const X> x;
  RowsOf<const V> c, u;
  RowsOf<X> y;
  const float *g, *tau;
  DR_DEVICE void operator()(int64_t r, int64_t at, int n) const {
    const float dt = tau[0] - tau[1], strength = *g;
    const Run from = load_run(x.row(r) + at, n);
    const Run with = load_run(c.row(r) + at, n), without = load_run(u.row(r) + at, n);
    store_run(y.row(r) + at,
              make_run([&](int j) { return fma(dt, guided(strength, with.v[j], without.v[j]), from.v[j]); }), n);
  }
};
template <class X, class V>
struct Gradients {
  const X* dy;
  X* dx;
  V *dc, *du;  // null: not wanted, as dx
  const float *g, *tau;
  DR_DEVICE void operator()(int64_t, int64_t at, int n) const {
    const float dt = tau[0] - tau[1], strength = *g;
    const Run d = load_run(dy + at, n), h = make_run([&](int j) { return dt * d.v[j]; });
    if (dx) store_run(dx + at, d, n);
    if (dc) store_run(dc + at, make_run([&](int j) { return strength * h.v[j]; }), n);
    if (du) store_run(du + at, make_run([&](int j) { return unguided_gradient(strength, h.v[j]); }), n);
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void GuidedEulerStep::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_types(in.x.dtype, in.c.dtype, [&]<class X, class V>(X*, V*) {
    const Step<X, V> step{rows_of<const X>(in.x), rows_of<const V>(in.c), rows_of<const V>(in.u),
                          rows_of<X>(out.y),      in.g.as<float>(),       in.tau.as<float>()};
    for_runs_of(ctx, step, out.y, in.x, in.c, in.u);
  });
}

template <>
void GuidedEulerStep::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout,
                                         const Grad& grad) const {
  CHECK(dout.y.packed() && grad.x.packed() && grad.c.packed() && grad.u.packed(),
        "guided_euler_step: gradients must be packed");
  with_float_types(in.x.dtype, in.c.dtype, [&]<class X, class V>(X*, V*) {
    for_runs(ctx, 1, in.x.count(),
             Gradients<X, V>{static_cast<const X*>(dout.y.data), static_cast<X*>(grad.x.data),
                             static_cast<V*>(grad.c.data), static_cast<V*>(grad.u.data), in.g.as<float>(),
                             in.tau.as<float>()});
  });
}

}  // namespace dr
