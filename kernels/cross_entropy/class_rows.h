#pragma once
// Rows of logits against a class: the code that cross_entropy and the losses built on it share, so that they give the
// same bits. Last include of a `_cpu.cpp`, as simd.h.

#include "kernels/core/column_sums.h"
#include "kernels/core/softmax_row.h"

namespace dr::DR_ISA {

template <class T>
DR_INLINE SoftmaxRow softmax_of(const T* x, int64_t classes) {
  return softmax_row(classes, [x](int64_t i, auto n) { return load_n(x + i, n); });
}

// -log of a class's probability; log_den = log(den).
DR_INLINE float class_nll(float x, float max, float log_den) { return log_den - (x - max); }

// put(i, p, n) of each run of a row's probabilities, from its saved maximum and denominator.
template <class T, class F>
DR_INLINE void for_probabilities(const T* x, int64_t classes, const SoftmaxRow& row, F&& put) {
  const f32v m = splat(row.max);
  const RowDivisor divide(row.den);
  for_vectors(classes, [&](int64_t i, auto n) { put(i, divide(exp(load_n(x + i, n) - m)), n); });
}

// 1 in the lane of element `index` if it is among elements i, i+1, ...; else 0.
DR_INLINE f32v one_hot_lanes(int64_t i, int64_t index) {
  i32v lane;
  for (int j = 0; j < W; j++) lane[j] = j;
  return lane == splat_i(int32_t(index - i)) ? splat(1.f) : f32v{};
}

// dx = g (p - [c = target]).
template <class T>
DR_INLINE void class_gradient(const T* x, int64_t classes, const SoftmaxRow& row, int64_t target, float g, T* dx) {
  for_probabilities(x, classes, row, [&](int64_t i, f32v p, auto n) {
    store_n(dx + i, splat(g) * (p - one_hot_lanes(i, target)), n);
  });
}

}  // namespace dr::DR_ISA
