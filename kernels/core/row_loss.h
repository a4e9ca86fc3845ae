#pragma once
// Losses that are a weighted sum over a row of a function of prediction and target: the walk, for ops that bring the
// function and its slope. Rows may be strided; a weight of 0 passes over its element, whatever that holds.
// Last include of a `_cpu.cpp`, as simd.h.

#include "kernels/core/column_sums.h"
#include "kernels/core/row_sums.h"
#include "kernels/core/stream.h"
#include "kernels/core/weighted.h"

namespace dr::DR_ISA {

inline constexpr int64_t kLossPiece = 8192;  // elements of parallel work

// f(P*, T*), null pointers of the two element types.
template <class F>
DR_INLINE void with_float_types(DType a, DType b, F&& f) {
  with_float_type(a, [&]<class P>(P* p) { with_float_type(b, [&]<class T>(T* t) { f(p, t); }); });
}

template <class T>
DR_INLINE const T* row_if(const View& v, int64_t r) {  // null for an absent view
  return v ? row_of<const T>(v, r) : nullptr;
}

// loss[r] = canonical row sum of fma terms w value(pred, target), or of value(pred, target) without weights.
template <class Value>
void row_loss_forward(Context& ctx, const View& pred, const View& target, const View& weight, const View& loss,
                      Value&& value) {
  with_float_types(pred.dtype, target.dtype, [&]<class P, class T>(P*, T*) {
    auto terms = [&](int64_t r) {
      return [&value, p = row_of<const P>(pred, r), t = row_of<const T>(target, r),
              w = row_if<float>(weight, r)](f32v& acc, int64_t i, auto n) {
        read_ahead(p + i), read_ahead(t + i);
        const f32v v = value(load_n(p + i, n), load_n(t + i, n));
        acc = w ? add_weighted(acc, load_n(w + i, n), v) : acc + keep(v, n);
      };
    };
    for_row_sums(ctx, RowBlocks(pred), terms, [&](int64_t r, float sum) { *row_of<float>(loss, r) = sum; });
  });
}

// dpred = (dloss w) slope(pred, target).
template <class Slope>
void row_loss_backward(Context& ctx, const View& pred, const View& target, const View& weight, const View& dloss,
                       const View& dpred, Slope&& slope) {
  const RowBlocks b(pred);
  const bool stream = streams(View(dpred.data, dpred.dtype, {b.rows, b.cols}));
  with_float_types(pred.dtype, target.dtype, [&]<class P, class T>(P*, T*) {
    for_pieces(ctx, b.rows, b.cols, kLossPiece, stream, [&](int64_t r, int64_t c, int64_t count) {
      const P* p = row_of<const P>(pred, r) + c;
      const T* t = row_of<const T>(target, r) + c;
      const float* w = weight ? row_of<const float>(weight, r) + c : nullptr;
      P* dp = row_of<P>(dpred, r) + c;
      const f32v g = splat(*row_of<const float>(dloss, r)), one = splat(1.f);
      for_vectors(count, [&](int64_t i, auto n) {
        read_ahead(p + i), read_ahead(t + i);
        const f32v s = slope(load_n(p + i, n), load_n(t + i, n));
        put(dp + i, weighted_slope(g, w ? load_n(w + i, n) : one, s), n, stream);
      });
    });
  });
}

}  // namespace dr::DR_ISA
