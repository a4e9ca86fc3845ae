#include "kernels/flow_mix/flow_mix.h"
#include "kernels/flow_mix/flow_math.h"

#include "kernels/core/gpu_row_loss.h"

namespace dr {
namespace DR_BACKEND {
namespace {

template <class T>
struct Mix {
  RowsOf<const T> x0, eps;
  RowsOf<const float> tau;
  RowsOf<T> x_tau, v;
  DR_DEVICE void operator()(int64_t r, int64_t c, int n) const {
    const FlowLevel level(*tau.row(r));
    const Run data = load_run(x0.row(r) + c, n), noise = load_run(eps.row(r) + c, n);
    store_run(x_tau.row(r) + c, make_run([&](int j) { return level.point(data.v[j], noise.v[j]); }), n);
    store_run(v.row(r) + c, make_run([&](int j) { return data.v[j] - noise.v[j]; }), n);
  }
};

// Gradients that are absent, given or wanted, have a null pointer.
template <class T>
struct EndGradients {
  RowsOf<const float> tau;
  RowsOf<const T> dx_tau, dv;
  RowsOf<T> dx0, deps;
  DR_DEVICE void operator()(int64_t r, int64_t c, int n) const {
    const FlowLevel level(*tau.row(r));
    const Run x = dx_tau.data ? load_run(dx_tau.row(r) + c, n) : Run{};
    const Run v = dv.data ? load_run(dv.row(r) + c, n) : Run{};
    if (dx0.data) store_run(dx0.row(r) + c, make_run([&](int j) { return level.data_gradient(x.v[j], v.v[j]); }), n);
    if (deps.data) store_run(deps.row(r) + c, make_run([&](int j) { return level.noise_gradient(x.v[j], v.v[j]); }), n);
  }
};
template <class T>
struct LevelGradient {
  RowsOf<const T> dx_tau, x0, eps;
  DR_DEVICE auto operator()(int64_t r) const {
    return [dx = dx_tau.data ? dx_tau.row(r) : nullptr, e = eps.row(r), x = x0.row(r)](float& acc, int64_t i) {
      acc = fma(dx ? load1(dx + i) : 0.f, load1(e + i) - load1(x + i), acc);
    };
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void FlowMix::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const RowBlocks b(in.x0);
  with_float_type(in.x0.dtype, [&]<class T>(T*) {
    for_runs(ctx, b.rows, b.cols,
             Mix<T>{rows_of<const T>(in.x0), rows_of<const T>(in.eps), rows_of<const float>(in.tau),
                    rows_of<T>(out.x_tau), rows_of<T>(out.v)});
  });
}

template <>
void FlowMix::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout, const Grad& grad) const {
  const RowBlocks b(in.x0);
  with_float_type(in.x0.dtype, [&]<class T>(T*) {
    const RowsOf<const T> dx_tau = rows_of<const T>(dout.x_tau);
    if (grad.x0 || grad.eps)
      for_runs(ctx, b.rows, b.cols,
               EndGradients<T>{rows_of<const float>(in.tau), dx_tau, rows_of<const T>(dout.v), rows_of<T>(grad.x0),
                               rows_of<T>(grad.eps)});
    if (grad.tau)
      for_row_sums(ctx, b, LevelGradient<T>{dx_tau, rows_of<const T>(in.x0), rows_of<const T>(in.eps)},
                   StoreSum{rows_of<float>(grad.tau)});
  });
}

}  // namespace dr
