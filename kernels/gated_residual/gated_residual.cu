#include "kernels/gated_residual/gated_residual.h"

#include "kernels/core/gpu_rows.h"
#include "kernels/core/gpu_runs.h"

namespace dr {
namespace DR_BACKEND {
namespace {

// Row r belongs to frame r / rows.
template <class T>
struct Forward {
  int64_t rows;
  RowsOf<const T> residual, h;
  RowsOf<const float> gate;
  RowsOf<T> y;
  DR_DEVICE void operator()(int64_t r, int64_t c, int n) const {
    const Run g = load_run(gate.row(r / rows) + c, n), a = load_run(h.row(r) + c, n);
    const Run b = load_run(residual.row(r) + c, n);
    store_run(y.row(r) + c, make_run([&](int j) { return fma(g.v[j], a.v[j], b.v[j]); }), n);
  }
};
template <class T>
struct Backward {
  int64_t rows;
  RowsOf<const float> gate;
  RowsOf<const T> dy;
  RowsOf<T> dresidual, dh;  // data null: not wanted
  DR_DEVICE void operator()(int64_t r, int64_t c, int n) const {
    const Run d = load_run(dy.row(r) + c, n);
    if (dresidual.data) store_run(dresidual.row(r) + c, d, n);
    if (!dh.data) return;
    const Run g = load_run(gate.row(r / rows) + c, n);
    store_run(dh.row(r) + c, make_run([&](int j) { return g.v[j] * d.v[j]; }), n);
  }
};
template <class T>
struct GateColumn {
  RowsOf<const T> dy, h;
  DR_DEVICE void operator()(int64_t r, int64_t c, float (&sums)[1]) const {
    sums[0] = fma(load1(dy.row(r) + c), load1(h.row(r) + c), sums[0]);
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void GatedResidual::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const RowGroups g = groups(in);
  with_float_type(in.h.dtype, [&]<class T>(T*) {
    for_runs(ctx, g.groups * g.rows, g.cols,
             Forward<T>{g.rows, rows_of<const T>(in.residual), rows_of<const T>(in.h), rows_of<const float>(in.gate),
                        rows_of<T>(out.y)});
  });
}

template <>
void GatedResidual::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy,
                                       const Grad& grad) const {
  const RowGroups g = groups(in);
  with_float_type(in.h.dtype, [&]<class T>(T*) {
    const RowsOf<const T> d = rows_of<const T>(dy.y);
    if (grad.residual || grad.h)
      for_runs(ctx, g.groups * g.rows, g.cols,
               Backward<T>{g.rows, rows_of<const float>(in.gate), d, rows_of<T>(grad.residual), rows_of<T>(grad.h)});
    const View grads[] = {grad.gate};
    column_sums(ctx, g, grads, GateColumn<T>{d, rows_of<const T>(in.h)});
  });
}

}  // namespace dr
