#pragma once
// The terms of Laplace's likelihood along one row, for laplace_nll and the losses built on it.
// Last include of a `_cpu.cpp`, as simd.h.

#include "kernels/core/math.h"
#include "kernels/core/row_loss.h"

namespace dr::DR_ISA {

// P: mean and log_scale, T: target; weight may be null.
template <class P, class T>
struct LaplaceRow {
  const P *mean, *log_scale;
  const T* target;
  const float* weight;
  float floor;

  template <class N>
  DR_INLINE f32v error(int64_t i, N n) const { return load_n(mean + i, n) - load_n(target + i, n); }
  template <class N>
  DR_INLINE f32v scale(int64_t i, N n) const { return math::at_least(load_n(log_scale + i, n), floor); }

  // What element i adds to the row's sum.
  template <class N>
  DR_INLINE void add_nll(f32v& acc, int64_t i, N n) const {
    const f32v s = scale(i, n), nll = fma(abs(error(i, n)), exp(-s), s + splat(0x1.62e430p-1f));
    acc = weight ? add_weighted(acc, load_n(weight + i, n), nll) : acc + keep(nll, n);
  }

  // emit(i, dmean, dlog_scale, n) for `count` elements; g: the gradient of the row's sum.
  template <class F>
  DR_INLINE void for_gradients(int64_t count, float g, F&& emit) const {
    const f32v one = splat(1.f), gv = splat(g), lowest = splat(floor);
    for_vectors(count, [&](int64_t i, auto n) {
      const f32v e = error(i, n), inverse = exp(-scale(i, n)), w = weight ? load_n(weight + i, n) : one;
      const f32v sign = e > 0.f ? inverse : e < 0.f ? -inverse : e;  // e where it is 0 or NaN
      const f32v slope = load_n(log_scale + i, n) < lowest ? f32v{} : fma(-abs(e), inverse, one);
      emit(i, weighted_slope(gv, w, sign), weighted_slope(gv, w, slope), n);
    });
  }

  DR_INLINE LaplaceRow from(int64_t i) const {
    return {mean + i, log_scale + i, target + i, weight ? weight + i : nullptr, floor};
  }
};

}  // namespace dr::DR_ISA
