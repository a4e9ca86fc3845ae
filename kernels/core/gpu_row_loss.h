#pragma once
// Canonical sums of rows whose blocks of 4096 are shared among groups of lanes, as core/row_sums.h has them for the
// CPU, and the walks of losses summed over a row, as core/row_loss.h has them. Last include of a `.cu`, as gpu.h.

#include "kernels/core/gpu_rows.h"
#include "kernels/core/gpu_runs.h"
#include "kernels/core/weighted.h"

namespace dr::DR_BACKEND {

// ---- one sum per row ----

namespace row_sums {

// Elements [begin, end), which one block holds.
template <class Add>
DR_DEVICE float block_sum(int64_t begin, int64_t end, const Add& add) {
  constexpr int kAhead = 8;  // loads under way at a time
  float acc = 0;
  int64_t i = begin + lane_index();
  for (; i + (kAhead - 1) * kGroup < end; i += kAhead * kGroup) {
    DR_UNROLL
    for (int j = 0; j < kAhead; j++) add(acc, i + j * kGroup);
  }
  for (; i < end; i += kGroup) add(acc, i);
  return group_sum(acc);
}

template <class Term, class Finish>
struct ShortRow {
  int64_t cols;
  Term term;
  Finish finish;
  DR_DEVICE void operator()(int64_t r) const {
    const float sum = block_sum(0, cols, term(r));
    if (lane_index() == 0) finish(r, sum);
  }
};

template <class Term>
struct Block {
  int64_t cols, per_row;
  Term term;
  float* sums;
  DR_DEVICE void operator()(int64_t block) const {
    const int64_t begin = block % per_row * kRowBlock, end = begin + kRowBlock < cols ? begin + kRowBlock : cols;
    const float sum = block_sum(begin, end, term(block / per_row));
    if (lane_index() == 0) sums[block] = sum;
  }
};

// The binary tree over a row's block sums, in place, level by level.
template <class Finish>
struct Tree {
  int64_t per_row;
  float* sums;
  Finish finish;
  DR_DEVICE void operator()(int64_t r) const {
    float* const row = sums + r * per_row;
    for (int64_t n = per_row; n > 1; n = (n + 1) / 2) {
      const int64_t next = (n + 1) / 2;
      for (int64_t first = 0; first < next; first += kGroup) {
        const int64_t i = first + lane_index();
        float sum = 0;
        if (i < next) sum = 2 * i + 1 < n ? row[2 * i] + row[2 * i + 1] : row[2 * i];
        group_sync();  // the lanes have read what others overwrite
        if (i < next) row[i] = sum;
      }
      group_sync();  // this level is written
    }
    if (lane_index() == 0) finish(r, row[0]);
  }
};

}  // namespace row_sums

// term(r) gives what adds a row's elements to a lane's sum, a function (acc, i); finish(r, sum) takes the row's sum.
// Scratch: b.scratch_bytes().
template <class Term, class Finish>
void for_row_sums(const Context& ctx, const RowBlocks& b, const Term& term, const Finish& finish) {
  const int64_t per_row = b.per_row();
  if (per_row <= 1) return for_rows(ctx, b.rows, row_sums::ShortRow<Term, Finish>{b.cols, term, finish});
  float* const sums = ctx.scratch_as<float>(b.scratch_bytes() / sizeof(float));
  for_rows(ctx, b.rows * per_row, row_sums::Block<Term>{b.cols, per_row, term, sums});
  for_rows(ctx, b.rows, row_sums::Tree<Finish>{per_row, sums, finish});
}

struct StoreSum {
  RowsOf<float> to;
  DR_DEVICE void operator()(int64_t r, float sum) const { *to.row(r) = sum; }
};

// ---- losses: a weighted sum over a row of a function of prediction and target ----

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
