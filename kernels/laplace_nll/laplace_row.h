#pragma once
// The terms of Laplace's likelihood along one row, for laplace_nll and the losses built on it.
// Last include of a `_cpu.cpp`, as simd.h.

#include "kernels/core/row_loss.h"
#include "kernels/laplace_nll/laplace_math.h"

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

  // What element i adds to the row's sum.
  template <class N>
  DR_INLINE void add_nll(f32v& acc, int64_t i, N n) const {
    const f32v nll = laplace_term(error(i, n), laplace_scale(load_n(log_scale + i, n), floor));
    acc = weight ? add_weighted(acc, load_n(weight + i, n), nll) : acc + keep(nll, n);
  }

  // emit(i, dmean, dlog_scale, n) for `count` elements; g: the gradient of the row's sum.
  template <class F>
  DR_INLINE void for_gradients(int64_t count, float g, F&& emit) const {
    const f32v one = splat(1.f), gv = splat(g);
    for_vectors(count, [&](int64_t i, auto n) {
      const f32v w = weight ? load_n(weight + i, n) : one;
      const LaplaceSlopes slopes = laplace_slopes(error(i, n), load_n(log_scale + i, n), floor);
      emit(i, weighted_slope(gv, w, slopes.mean), weighted_slope(gv, w, slopes.log_scale), n);
    });
  }

  DR_INLINE LaplaceRow from(int64_t i) const {
    return {mean + i, log_scale + i, target + i, weight ? weight + i : nullptr, floor};
  }
};

}  // namespace dr::DR_ISA
