#pragma once
// The walks of losses summed over a row on a device, as core/row_loss.h has them for the CPU. Last include of a `.cu`, as
// gpu.h.

#include "kernels/core/gpu_rows.h"
#include "kernels/core/gpu_runs.h"
#include "kernels/core/weighted.h"

namespace dr::DR_BACKEND {

// finish for for_row_sums.
struct StoreSum {
  RowsOf<float> to;
  DR_DEVICE void operator()(int64_t r, float sum) const { *to.row(r) = sum; }
};

// A loss is a weighted sum over a row of a function of prediction and target.

template <class P, class T, class Value>
struct LossTerm {
  RowsOf<const P> pred;
  RowsOf<const T> target;
  RowsOf<const float> weight;  // data null: 1
  Value value;
  DR_DEVICE auto operator()(int64_t r) const {
    const float* const w = weight.data ? weight.row(r) : nullptr;
    return [p = pred.row(r), t = target.row(r), w, value = value](float& acc, int64_t i) {
      const float v = value(load1(p + i), load1(t + i));
      acc = w ? add_weighted(acc, w[i], v) : acc + v;
    };
  }
};
template <class P, class T, class Slope>
struct LossGradient {
  RowsOf<const P> pred;
  RowsOf<const T> target;
  RowsOf<const float> weight, dloss;
  RowsOf<P> dpred;
  Slope slope;
  DR_DEVICE void operator()(int64_t r, int64_t c, int n) const {
    const Run p = load_run(pred.row(r) + c, n), t = load_run(target.row(r) + c, n);
    const Run w = weight.data ? load_run(weight.row(r) + c, n) : make_run([](int) { return 1.f; });
    const float g = *dloss.row(r);
    store_run(dpred.row(r) + c, make_run([&](int j) { return weighted_slope(g, w.v[j], slope(p.v[j], t.v[j])); }), n);
  }
};

// loss[r] = canonical row sum of fma terms w value(pred, target), or of value(pred, target) without weights.
template <class Value>
void row_loss_forward(const Context& ctx, const View& pred, const View& target, const View& weight, const View& loss,
                      const Value& value) {
  with_float_types(pred.dtype, target.dtype, [&]<class P, class T>(P*, T*) {
    const LossTerm<P, T, Value> term{rows_of<const P>(pred), rows_of<const T>(target), rows_of<const float>(weight),
                                     value};
    for_row_sums(ctx, RowBlocks(pred), term, StoreSum{rows_of<float>(loss)});
  });
}

// dpred = (dloss w) slope(pred, target).
template <class Slope>
void row_loss_backward(const Context& ctx, const View& pred, const View& target, const View& weight, const View& dloss,
                       const View& dpred, const Slope& slope) {
  const RowBlocks b(pred);
  with_float_types(pred.dtype, target.dtype, [&]<class P, class T>(P*, T*) {
    for_runs(ctx, b.rows, b.cols,
             LossGradient<P, T, Slope>{rows_of<const P>(pred), rows_of<const T>(target), rows_of<const float>(weight),
                                       rows_of<const float>(dloss), rows_of<P>(dpred), slope});
  });
}

}  // namespace dr::DR_BACKEND
