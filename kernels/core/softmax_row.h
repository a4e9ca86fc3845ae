#pragma once
// The softmax of one row: its maximum, exp(x - max), their canonical row sum, and the quotients. What attention, losses
// over classes and categorical samples share. A row is given as at(i, n) -> f32v, lanes past n being of no account.
// Last include of a `_cpu.cpp`, as simd.h.

#include "kernels/core/math.h"
#include "kernels/core/reduce.h"

namespace dr::DR_ISA {

namespace softmax {
DR_INLINE f32v or_lowest(f32v v, std::integral_constant<int, W>) { return v; }
DR_INLINE f32v or_lowest(f32v v, int n) {  // lanes past n become -inf
  i32v lane;
  for (int i = 0; i < W; i++) lane[i] = i;
  return lane < n ? v : splat(-__builtin_inff());
}
// Combines the N lanes of one vector by halves: f(low, high) of the narrower vectors.
template <int N, class V, class F>
DR_INLINE auto fold(V v, F&& f) {
  if constexpr (N == 1) {
    return v[0];
  } else {
    typedef decltype(v[0] + v[0]) Half __attribute__((vector_size(N * 2)));
    return fold<N / 2>(f(low_half<Half>(v), high_half<Half>(v)), f);
  }
}
}  // namespace softmax

// The largest element: +0 where that is a zero, NaN if any is, -inf for none.
template <class At>
DR_INLINE float row_max(int64_t count, At&& at) {
  f32v best[4];
  i32v nan[4] = {};
  for (f32v& b : best) b = splat(-__builtin_inff());
  auto take = [&](int slot, f32v x) {
    best[slot] = x > best[slot] ? x : best[slot];
    nan[slot] |= x != x;
  };
  int64_t i = 0;
  for (; i + 4 * W <= count; i += 4 * W) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) take(j, at(i + j * W, std::integral_constant<int, W>{}));
  }
  for_vectors(count - i, [&](int64_t j, auto n) { take(0, softmax::or_lowest(at(i + j, n), n)); });
  auto larger = [](auto a, auto b) { return a > b ? a : b; };
  const f32v top = larger(larger(best[0], best[1]), larger(best[2], best[3]));
  const i32v bad = nan[0] | nan[1] | nan[2] | nan[3];
  const float m = softmax::fold<W>(top, larger);
  const bool any_nan = softmax::fold<W>(bad, [](auto a, auto b) { return a | b; }) != 0;
  return any_nan ? __builtin_nanf("") : m + 0.f;
}

// e / den for the e of a row, 0 <= e <= 1, den >= 1 or NaN: the IEEE quotient, from four operations that overlap where
// a vector division does not. With y = 1/den rounded and low what 1/den lacks, q = e*y + e*low rounds a value within
// 2^-46 of the quotient, so q is one of its two neighbours; then fma(e - q*den, y, q), the remainder being exact, is
// the quotient rounded (Markstein 1990, IBM J. Res. Dev. 34(1)). Both need products clear of underflow: tiny e and den
// >= 2^20 take the division. The other instruction sets divide, so tests of equal bits compare the two.
struct RowDivisor {
  f32v den, y, low;
  bool usable;

  DR_INLINE explicit RowDivisor(float d)
      : den(splat(d)), y(splat(1.f / d)), low(splat(fma(-(1.f / d), d, 1.f) * (1.f / d))), usable(d < 0x1p20f) {}

  DR_INLINE f32v operator()(f32v e) const {
#if defined(DR_ISA_avx512)
    // Not for e = 0, which is common and exact: subtracting 1 takes it to the top.
    const __mmask16 tiny = _mm512_cmple_epu32_mask(__m512i(bits<u32v>(e) - 1u), _mm512_set1_epi32(kTiny));
    if (__builtin_expect(tiny == 0 && usable, 1)) {
      const f32v q = fma(e, y, e * low);
      return fma(fma(-q, den, e), y, q);
    }
#endif
    return e / den;
  }
  static constexpr int kTiny = (127 - 80) << 23;  // the bits of 2^-80
};

// den[r] = canonical row sum of e[i] = exp(x[i] - max); store(i, e, n) takes each e.
struct SoftmaxRow { float max, den; };
template <class At, class Store>
DR_INLINE SoftmaxRow softmax_row(int64_t count, At&& at, Store&& store) {
  const float max = row_max(count, at);
  const f32v m = splat(max);
  const float den = row_reduce(count, [&](f32v& acc, int64_t i, auto n) {
    const f32v e = exp(at(i, n) - m);
    store(i, e, n);
    acc += keep(e, n);
  });
  return {max, den};
}
template <class At>
DR_INLINE SoftmaxRow softmax_row(int64_t count, At&& at) {
  return softmax_row(count, at, [](int64_t, f32v, auto) {});
}

// The softmax of x into s, rounded; returns its maximum and denominator.
template <class T>
DR_INLINE SoftmaxRow softmax_into(const T* x, int64_t count, float* s) {
  const SoftmaxRow row = softmax_row(
      count, [x](int64_t i, auto n) { return load_n(x + i, n); },
      [s](int64_t i, f32v e, auto n) { store_n(s + i, e, n); });
  const RowDivisor divide(row.den);
  for_vectors(count, [&](int64_t i, auto n) { store_n(s + i, divide(load_n(s + i, n)), n); });
  return row;
}

}  // namespace dr::DR_ISA
