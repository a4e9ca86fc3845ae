#include "kernels/laplace_nll/laplace_nll.h"

#include "kernels/laplace_nll/gpu_laplace_row.h"

namespace dr {
namespace DR_BACKEND {
namespace {

template <class P, class T>
struct Rows {
  RowsOf<const P> mean, log_scale;
  RowsOf<const T> target;
  RowsOf<const float> weight;  // data null: 1
  float floor;
  explicit Rows(const LaplaceNll::In& in, float floor_)
      : mean(rows_of<const P>(in.mean)), log_scale(rows_of<const P>(in.log_scale)), target(rows_of<const T>(in.target)),
        weight(rows_of<const float>(in.weight)), floor(floor_) {}
  DR_DEVICE LaplaceRow<P, T> row(int64_t r) const {
    return {mean.row(r), log_scale.row(r), target.row(r), weight.data ? weight.row(r) : nullptr, floor};
  }
};

template <class P, class T>
struct Terms {
  Rows<P, T> rows;
  DR_DEVICE auto operator()(int64_t r) const {
    return [row = rows.row(r)](float& acc, int64_t i) { row.add_nll(acc, i); };
  }
};
template <class P, class T>
struct Gradients {
  Rows<P, T> rows;
  RowsOf<const float> dloss;
  RowsOf<P> dmean, dscale;  // data null: not wanted
  DR_DEVICE void operator()(int64_t r, int64_t c, int n) const {
    P *const dm = dmean.data ? dmean.row(r) : nullptr, *const ds = dscale.data ? dscale.row(r) : nullptr;
    rows.row(r).gradients(c, n, *dloss.row(r), dm, ds);
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void LaplaceNll::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_types(in.mean.dtype, in.target.dtype, [&]<class P, class T>(P*, T*) {
    const Terms<P, T> terms{Rows<P, T>(in, min_log_scale)};
    for_row_sums(ctx, RowBlocks(in.mean), terms, StoreSum{rows_of<float>(out.loss)});
  });
}

template <>
void LaplaceNll::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout,
                                    const Grad& grad) const {
  const RowBlocks b(in.mean);
  with_float_types(in.mean.dtype, in.target.dtype, [&]<class P, class T>(P*, T*) {
    for_runs(ctx, b.rows, b.cols,
             Gradients<P, T>{Rows<P, T>(in, min_log_scale), rows_of<const float>(dout.loss), rows_of<P>(grad.mean),
                             rows_of<P>(grad.log_scale)});
  });
}

}  // namespace dr
