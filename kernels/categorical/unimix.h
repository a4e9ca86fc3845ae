#pragma once
// Probabilities of a categorical distribution with a part of the uniform one mixed in. Last include of a `_cpu.cpp`, as
// simd.h.

#include "kernels/core/softmax_row.h"

namespace dr::DR_ISA {

struct Unimix {
  float own, uniform;  // weights of the softmax and of each class
  Unimix(float unimix, int64_t classes) : own(1.f - unimix), uniform(unimix / float(classes)) {}
  DR_INLINE f32v operator()(f32v s) const { return fma(splat(own), s, splat(uniform)); }
};

// The softmax of `classes` logits into s, rounded; returns its maximum and denominator.
template <class T>
DR_INLINE SoftmaxRow softmax_into(const T* x, int64_t classes, float* s) {
  const SoftmaxRow row = softmax_row(
      classes, [x](int64_t i, auto n) { return load_n(x + i, n); },
      [s](int64_t i, f32v e, auto n) { store_n(s + i, e, n); });
  const RowDivisor divide(row.den);
  for_vectors(classes, [&](int64_t i, auto n) { store_n(s + i, divide(load_n(s + i, n)), n); });
  return row;
}

}  // namespace dr::DR_ISA
