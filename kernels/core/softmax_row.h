#pragma once
// The softmax of one row of f32, what attention and softmax share:
//   m = max_i scale * s[i],  e[i] = exp(scale * s[i] - m),  den = canonical row sum of e,  p[i] = e[i] / den
// Last include of a `_cpu.cpp`, as simd.h.

#include "kernels/core/math.h"
#include "kernels/core/reduce.h"

namespace dr::DR_ISA {

// The largest of scale * s[0..n), a zero being +0; NaN if any of them is NaN; -inf if n is 0.
DR_INLINE float row_max(const float* s, int64_t count, float scale) {
  const f32v sc = splat(scale);
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
    for (int j = 0; j < 4; j++) take(j, sc * load(s + i + j * W));
  }
  for (; i + W <= count; i += W) take(0, sc * load(s + i));
  f32v top = best[0];
  i32v bad = nan[0] | nan[1] | nan[2] | nan[3];
#pragma GCC unroll 4
  for (int j = 1; j < 4; j++) top = best[j] > top ? best[j] : top;
  float m = top[0];
  bool any_nan = bad[0] != 0;
  for (int j = 1; j < W; j++) {
    m = top[j] > m ? top[j] : m;
    any_nan |= bad[j] != 0;
  }
  for (; i < count; i++) {
    const float x = scale * s[i];
    m = x > m ? x : m;
    any_nan |= x != x;
  }
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

// s becomes p; returns max and den.
struct SoftmaxRow { float max, den; };
inline SoftmaxRow softmax_row(float* s, int64_t count, float scale) {
  const float max = row_max(s, count, scale);
  const f32v sc = splat(scale), m = splat(max);
  const float den = row_reduce(count, [&](f32v& acc, int64_t i, auto n) {
    const f32v e = exp(sc * load_n(s + i, n) - m);
    store_n(s + i, e, n);
    acc += keep(e, n);
  });
  const RowDivisor divide(den);
  for_vectors(count, [&](int64_t i, auto n) { store_n(s + i, divide(load_n(s + i, n)), n); });
  return {max, den};
}

}  // namespace dr::DR_ISA
