#include "kernels/flow_loss/flow_loss.h"

#include "kernels/core/gpu_row_loss.h"

namespace dr {
namespace DR_BACKEND {
namespace {

template <class P, class T>
struct Square {
  RowsOf<const P> pred;
  RowsOf<const T> target;
  DR_DEVICE auto operator()(int64_t r) const {
    return [p = pred.row(r), t = target.row(r)](float& acc, int64_t i) {
      const float d = load1(p + i) - load1(t + i);
      acc = fma(d, d, acc);
    };
  }
};
struct StoreWeighted {
  RowsOf<float> loss;
  RowsOf<const float> weight;  // data null: 1
  DR_DEVICE void operator()(int64_t r, float sum) const { *loss.row(r) = weight.data ? *weight.row(r) * sum : sum; }
};
template <class P, class T>
struct Gradient {
  RowsOf<const P> pred;
  RowsOf<const T> target;
  RowsOf<const float> weight, dloss;
  RowsOf<P> dpred;
  DR_DEVICE void operator()(int64_t r, int64_t c, int n) const {
    const Run p = load_run(pred.row(r) + c, n), t = load_run(target.row(r) + c, n);
    const float twice = 2.f * *dloss.row(r), s = weight.data ? twice * *weight.row(r) : twice;
    store_run(dpred.row(r) + c, make_run([&](int j) { return s * (p.v[j] - t.v[j]); }), n);
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void FlowLoss::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const StoreWeighted store{rows_of<float>(out.loss), rows_of<const float>(in.weight)};
  with_float_types(in.pred.dtype, in.target.dtype, [&]<class P, class T>(P*, T*) {
    for_row_sums(ctx, RowBlocks(in.pred), Square<P, T>{rows_of<const P>(in.pred), rows_of<const T>(in.target)}, store);
  });
}

template <>
void FlowLoss::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout, const Grad& grad) const {
  if (!grad.pred) return;
  const RowBlocks b(in.pred);
  with_float_types(in.pred.dtype, in.target.dtype, [&]<class P, class T>(P*, T*) {
    for_runs(ctx, b.rows, b.cols,
             Gradient<P, T>{rows_of<const P>(in.pred), rows_of<const T>(in.target), rows_of<const float>(in.weight),
                            rows_of<const float>(dout.loss), rows_of<P>(grad.pred)});
  });
}

}  // namespace dr
