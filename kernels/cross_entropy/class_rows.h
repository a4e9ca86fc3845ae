#pragma once
// Rows of logits against a class: the code that cross_entropy and the losses built on it share, so that they give the
// same bits. Last include of a `_cpu.cpp`, as simd.h.

#include "kernels/core/column_sums.h"
#include "kernels/core/softmax_row.h"
#include "kernels/cross_entropy/class_math.h"

namespace dr::DR_ISA {

template <class T>
DR_INLINE SoftmaxRow softmax_of(const T* x, int64_t classes) {
  return softmax_row(classes, [x](int64_t i, auto n) { return load_n(x + i, n); });
}

// put(i, p, n) of each run of a row's probabilities, from its saved maximum and denominator.
template <class T, class F>
DR_INLINE void for_probabilities(const T* x, int64_t classes, const SoftmaxRow& row, F&& put) {
  const f32v m = splat(row.max);
  const RowDivisor divide(row.den);
  for_vectors(classes, [&](int64_t i, auto n) { put(i, divide(exp(load_n(x + i, n) - m)), n); });
}

// `value` in the lane of element `index` if it is among elements i, i+1, ...; else 0.
DR_INLINE f32v at_element(int64_t i, int64_t index, float value) {
  i32v lane;
  for (int j = 0; j < W; j++) lane[j] = j;
  return lane == splat_i(int32_t(index - i)) ? splat(value) : f32v{};
}

// dx = g (p - [c = target]).
template <class T>
DR_INLINE void class_gradient(const T* x, int64_t classes, const SoftmaxRow& row, int64_t target, float g, T* dx) {
  for_probabilities(x, classes, row, [&](int64_t i, f32v p, auto n) {
    store_n(dx + i, class_slope(splat(g), p, at_element(i, target, 1.f)), n);
  });
}

// ---- all rows of (R,C) logits ----

inline int64_t rows_per_piece(int64_t classes) { return (4096 / classes + W) / W * W; }  // of parallel work at least

// loss[r] = f(r, x, max, log_den), and each row's max and den. Rows are taken by the vector, since one logarithm costs
// as much as W of them.
template <class T, class F>
void for_class_losses(Context& ctx, const View& logits, const View& loss, const View& max_view, const View& den_view,
                      F&& f) {
  const int64_t classes = logits.size(1);
  float *const max = max_view.as<float>(), *const den = den_view.as<float>();
  ctx.parallel(logits.size(0), rows_per_piece(classes), [&](int64_t begin, int64_t end) {
    for_vectors(end - begin, [&](int64_t i, auto n) {
      const int64_t first = begin + i;
      for (int64_t r = first; r < first + n; r++) {
        const SoftmaxRow row = softmax_of(row_of<const T>(logits, r), classes);
        max[r] = row.max;
        den[r] = row.den;
      }
      float log_den[W];
      store(log_den, log(load_n(den + first, n)));
      for (int64_t r = first; r < first + n; r++)
        loss.as<float>()[r] = f(r, row_of<const T>(logits, r), max[r], log_den[r - first]);
    });
  });
}

// f(r, x, saved maximum and denominator, the row's output gradient, dx).
template <class T, class F>
void for_class_gradients(Context& ctx, const View& logits, const View& max, const View& den, const View& dout,
                         const View& dlogits, F&& f) {
  ctx.parallel(logits.size(0), rows_per_piece(logits.size(1)), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const SoftmaxRow row{max.as<float>()[r], den.as<float>()[r]};
      f(r, row_of<const T>(logits, r), row, *row_of<const float>(dout, r), row_of<T>(dlogits, r));
    }
  });
}

}  // namespace dr::DR_ISA
