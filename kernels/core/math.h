#pragma once
// Elementary functions of the canonical tier: exp, expm1, log, log1p, tanh, erf, sin, cos, rsqrt on W lanes of f32
// and on one float. Every result is the exact value rounded once to the nearest float (ties to even), for every
// input: NaN for NaN and outside the domain, infinities and the sign of zero as in C99. So the bits do not depend on
// how it is done, and `prove_math` checks all 2^32 inputs of each function on each instruction set.
//
// How: widen to double, reduce, look up, evaluate a polynomial, narrow. The error in double, about 2^-52, spares all
// but a few inputs in 2^32; the proof names those, and they are patched where they occur. Last include of a
// `_cpu.cpp`, as simd.h.

#include <limits>

#include "kernels/core/math_tables.h"

#include "kernels/core/simd.h"

// A rare case, kept out of the way of the others.
#if defined(DR_BACKEND) && !defined(DR_BACKEND_simt)
#define DR_NOINLINE __device__ __noinline__
#else
#define DR_NOINLINE inline __attribute__((noinline))
#endif

namespace dr::DR_ISA {
namespace math {

// ---- one definition for f64v and double: c<V>(x) is a constant in every lane ----

template <class V>
DR_INLINE V c(double v) {
  return v - V{};
}

template <class V, int N>
DR_INLINE V polynomial(V x, const double (&coefficients)[N]) {
  V y = c<V>(coefficients[N - 1]);
#pragma GCC unroll 16
  for (int i = N - 2; i >= 0; i--) y = fma(y, x, c<V>(coefficients[i]));
  return y;
}

// ---- per instruction set: limits that keep a NaN in v, table lookup by the low three (four) bits of an index ----

#if defined(DR_BACKEND)
DR_INLINE f32v at_most(f32v v, float limit) { return v > limit ? limit : v; }
DR_INLINE f32v at_least(f32v v, float limit) { return v < limit ? limit : v; }
DR_INLINE f64v lookup8(const double (&table)[8], u64v index) { return table[index & 7]; }
DR_INLINE f64v lookup16(const double (&table)[16], u64v index) { return table[index & 15]; }
DR_INLINE f32v lookup16(const float (&table)[16], u32v index) { return table[index & 15]; }
#elif defined(DR_ISA_avx512)
DR_INLINE f32v at_most(f32v v, float limit) { return _mm512_min_ps(_mm512_set1_ps(limit), v); }
DR_INLINE f32v at_least(f32v v, float limit) { return _mm512_max_ps(_mm512_set1_ps(limit), v); }
DR_INLINE f64v lookup8(const double (&table)[8], u64v index) {
  return _mm512_permutexvar_pd(__m512i(index), _mm512_load_pd(table));
}
DR_INLINE f64v lookup16(const double (&table)[16], u64v index) {
  return _mm512_permutex2var_pd(_mm512_load_pd(table), __m512i(index), _mm512_load_pd(table + 8));
}
DR_INLINE f32v lookup16(const float (&table)[16], u32v index) {
  return _mm512_permutexvar_ps(__m512i(index), _mm512_load_ps(table));
}
#elif defined(DR_ISA_avx2)
DR_INLINE f32v at_most(f32v v, float limit) { return _mm256_min_ps(_mm256_set1_ps(limit), v); }
DR_INLINE f32v at_least(f32v v, float limit) { return _mm256_max_ps(_mm256_set1_ps(limit), v); }
// A permutation of eight 32-bit words for each half of the doubles.
DR_INLINE f64v lookup8(const double (&table)[8], u64v index) {
  const __m256 a = _mm256_load_ps(reinterpret_cast<const float*>(table));
  const __m256 b = _mm256_load_ps(reinterpret_cast<const float*>(table + 4));
  // low and high words in an order that suits the shuffle: 0 1 4 5 2 3 6 7; folded by the compiler for constant
  // tables
  const __m256i low = __m256i(_mm256_shuffle_ps(a, b, 0x88)), high = __m256i(_mm256_shuffle_ps(a, b, 0xdd));
  const __m256i order = _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7);
  const __m256i l = _mm256_permutevar8x32_epi32(low, order), h = _mm256_permutevar8x32_epi32(high, order);
  const __m256i i = __m256i(_mm256_moveldup_ps(__m256(index)));
  return f64v(_mm256_blend_epi32(_mm256_permutevar8x32_epi32(l, i), _mm256_permutevar8x32_epi32(h, i), 0xaa));
}
DR_INLINE f64v lookup16(const double (&table)[16], u64v index) {
  return _mm256_i64gather_pd(table, __m256i(index & 15), 8);
}
DR_INLINE f32v lookup16(const float (&table)[16], u32v index) {
  const __m256i i = __m256i(index);
  const __m256 low = _mm256_permutevar8x32_ps(_mm256_load_ps(table), i);
  const __m256 high = _mm256_permutevar8x32_ps(_mm256_load_ps(table + 8), i);
  return _mm256_blendv_ps(low, high, __m256(index << 28));  // by bit 3
}
#else
DR_INLINE f32v at_most(f32v v, float limit) { return v > splat(limit) ? splat(limit) : v; }
DR_INLINE f32v at_least(f32v v, float limit) { return v < splat(limit) ? splat(limit) : v; }
DR_INLINE f64v lookup8(const double (&table)[8], u64v index) {
  f64v r;
  for (int i = 0; i < D; i++) r[i] = table[index[i] & 7];
  return r;
}
DR_INLINE f64v lookup16(const double (&table)[16], u64v index) {
  f64v r;
  for (int i = 0; i < D; i++) r[i] = table[index[i] & 15];
  return r;
}
DR_INLINE f32v lookup16(const float (&table)[16], u32v index) {
  f32v r;
  for (int i = 0; i < W; i++) r[i] = table[index[i] & 15];
  return r;
}
#endif

// f on the two halves of x in double, narrowed once.
template <class F>
DR_INLINE f32v through_double(f32v x, F&& f) {
#if defined(DR_BACKEND)
  return narrow(f(widen(x)));
#else
  return narrow(f(widen_low(x)), f(widen_high(x)));
#endif
}

template <int N>
DR_INLINE f32v patch(f32v x, f32v y, const dr::math::Patch (&patches)[N]) {
#pragma GCC unroll 16
  for (const dr::math::Patch& p : patches) y = x == splat(p.x) ? splat(p.y) : y;
  return y;
}

DR_INLINE f32v sign_of(f32v x) { return bits<f32v>(bits<u32v>(x) & 0x80000000u); }
DR_INLINE f32v or_bits(f32v a, f32v b) { return bits<f32v>(bits<u32v>(a) | bits<u32v>(b)); }

// e^x = t (1 + p), for x whose double is within [-105, 105] or NaN: x log2(e) = n/8 + f, t = 2^(n/8), p = 2^f - 1.
// Adding 1.5 * 2^49 rounds to a multiple of 1/8 and leaves n in the low bits, whose shift by 49 is the exponent and
// its fraction; the fraction is taken out of the table beforehand.
struct Exp {
  f64v t, p;
};
template <int N>
DR_INLINE Exp exp_parts(f64v x, double log2e, const double (&coefficients)[N]) {
  const f64v magic = splat64(0x1.8p49);
  const f64v shifted = fma(x, splat64(log2e), magic);
  const f64v f = fma(x, splat64(log2e), magic - shifted);
  const u64v n = bits<u64v>(shifted);
  return {bits<f64v>(bits<u64v>(lookup8(dr::math::kExp2, n)) + (n << 49)), f * polynomial(f, coefficients)};
}

// log(z) for positive finite z: z = 2^k m, r = m / c - 1 with c near m. Where 1 + x is z and small x must keep its
// relative accuracy, r is x itself; `exact_r` holds it in the piece round 1 (c = 1, k = 0).
DR_INLINE f64v log_core(f64v z, f64v exact_r, bool use_exact) {
  const u64v from = bits<u64v>(z) - dr::math::kLogOffset;
  const u64v piece = from >> 49;
  // k + 1024 in the low bits of 2^52
  const f64v biased = bits<f64v>(((from + (uint64_t(1024) << 52)) >> 52) | 0x4330000000000000u);
  const f64v k = biased - splat64(0x1p52 + 1024);
  const f64v m = bits<f64v>(bits<u64v>(z) - (from & 0xfff0000000000000u));
  f64v r = fma(m, lookup8(dr::math::kLogInverse, piece), splat64(-1));
  const f64v base = fma(k, splat64(dr::math::kLn2), lookup8(dr::math::kLogValue, piece));
  if (use_exact) r = (base == 0.0) ? exact_r : r;
  const f64v tail = fma(r * r, polynomial(r, dr::math::kLogPoly), r);
  return base + tail;
}

// sin(r) for |r| <= pi/2.
template <class V>
DR_INLINE V sin_core(V r) {
  const V square = r * r;
  return r * fma(square, polynomial(square, dr::math::kSinPoly), c<V>(1));
}

// sin(x), or cos(x) = sin(x + pi/2), for |x| < 2^28: x = r + k pi (less pi/2 for cos), two constants for pi.
template <bool kCos>
DR_INLINE f64v sin_in_range(f64v x) {
  const f64v magic = splat64(0x1.8p52);
  f64v shifted, k;
  if constexpr (kCos) {
    shifted = fma(x, splat64(dr::math::kInvPi), splat64(0.5)) + magic;
    k = shifted - magic - splat64(0.5);
  } else {
    shifted = fma(x, splat64(dr::math::kInvPi), magic);
    k = shifted - magic;
  }
  const f64v r = fma(-k, splat64(dr::math::kPiLow), fma(-k, splat64(dr::math::kPi), x));
  return bits<f64v>(bits<u64v>(sin_core(r)) ^ (bits<u64v>(shifted) << 63));
}

inline constexpr uint32_t kSinLarge = 0x4d800000;  // the bits of 2^28

// double(v); AMD's compiler has no such conversion.
DR_INLINE double rounded(__int128 v) {
  if (v == 0) return 0;
  unsigned __int128 m = v < 0 ? -static_cast<unsigned __int128>(v) : static_cast<unsigned __int128>(v);
  double unit = 0x1p64;
  for (; !(m >> 127); m <<= 1) unit *= 0.5;
  const uint64_t top = uint64_t(m >> 64) | uint64_t(uint64_t(m) != 0);  // the low half can but break a tie
  const double magnitude = double(top) * unit;
  return v < 0 ? -magnitude : magnitude;
}

// sin or cos of one |x| >= 2^28, infinite or NaN. |x| = m 2^e with a 24-bit m; the digits of 2/pi that matter modulo
// 4 are the 128 from digit e - 1 on, so that P = m * digits mod 2^128 is |x|/pi mod 2 in units of 2^-127.
template <bool kCos>
DR_NOINLINE float sin_large(float x) {
  const uint32_t b = __builtin_bit_cast(uint32_t, x);
  const uint32_t exponent = b >> 23 & 0xff;
  if (exponent == 0xff) return std::numeric_limits<float>::quiet_NaN();
  if (kCos && __builtin_fabsf(x) == dr::math::kCosLargePatch.x) return dr::math::kCosLargePatch.y;
  const uint32_t first = exponent - 150 - 2;  // counted from 0
  const uint32_t* word = dr::math::kTwoOverPi + first / 32;
  const uint32_t shift = first % 32;
  unsigned __int128 digits = 0;
  for (int i = 0; i < 4; i++) {
    const uint64_t two = uint64_t(word[i]) << 32 | word[i + 1];
    digits = digits << 32 | uint32_t(two >> (32 - shift));
  }
  unsigned __int128 turns = digits * ((b & 0x7fffff) | 0x800000);
  const unsigned __int128 half = static_cast<unsigned __int128>(1) << 126;
  if (kCos) turns += half;
  const bool odd = (turns + half) >> 127;
  const double r = rounded(static_cast<__int128>(turns << 1)) * (0x1p-128 * dr::math::kPi);
  const double y = sin_core(r);
  return float(odd != (!kCos && b >> 31) ? -y : y);
}

#if defined(DR_BACKEND)
template <bool kCos>
DR_INLINE f32v sin_or_cos(f32v x) {
  if (bits<u32v>(abs(x)) >= kSinLarge) return sin_large<kCos>(x);
  return through_double(x, [](f64v v) { return sin_in_range<kCos>(v); });
}
#else
#if defined(DR_ISA_avx512)
DR_INLINE bool any_at_least(f32v v, uint32_t limit) {
  return _mm512_cmpge_epu32_mask(__m512i(abs(v)), _mm512_set1_epi32(int(limit))) != 0;
}
#elif defined(DR_ISA_avx2)
DR_INLINE bool any_at_least(f32v v, uint32_t limit) {
  return _mm256_movemask_ps(__m256(_mm256_cmpgt_epi32(__m256i(abs(v)), _mm256_set1_epi32(int(limit) - 1)))) != 0;
}
#else
DR_INLINE bool any_at_least(f32v v, uint32_t limit) {
  const u32v b = bits<u32v>(abs(v));
  bool any = false;
  for (int i = 0; i < W; i++) any |= b[i] >= limit;
  return any;
}
#endif

template <bool kCos>
DR_NOINLINE void fix_large(const f32v& x, f32v& y) {
  for (int i = 0; i < W; i++)
    if ((bits<u32v>(x)[i] & 0x7fffffff) >= kSinLarge) y[i] = sin_large<kCos>(x[i]);
}

template <bool kCos>
DR_INLINE f32v sin_or_cos(f32v x) {
  f32v y = through_double(x, [](f64v v) { return sin_in_range<kCos>(v); });
  if (__builtin_expect(any_at_least(x, kSinLarge), 0)) {
    const f32v copy = x;
    f32v patched = y;
    fix_large<kCos>(copy, patched);
    y = patched;
  }
  return y;
}
#endif  // DR_BACKEND

}  // namespace math

// 0 below -103.97..., +inf above 88.72...: both follow from narrowing.
DR_INLINE f32v exp(f32v x) {
  x = math::at_least(math::at_most(x, 89.f), -104.f);
  return math::through_double(x, [](f64v v) {
    const math::Exp e = math::exp_parts(v, dr::math::kLog2e, dr::math::kExp2Short);
    return fma(e.t, e.p, e.t);
  });
}

DR_INLINE f32v expm1(f32v x) {
  const f32v v = math::at_least(math::at_most(x, 89.f), -18.f);
  const f32v y = math::through_double(v, [](f64v w) {
    const math::Exp e = math::exp_parts(w, dr::math::kLog2e, dr::math::kExp2Poly);
    return fma(e.t, e.p, e.t - splat64(1));
  });
  return math::or_bits(math::patch(x, y, dr::math::kExpm1Patches), math::sign_of(x));  // the sign is for x = -0
}

// tanh|x| = (e - 1) / (e + 1), e = exp(2|x|); 1 from 9.01... on.
DR_INLINE f32v tanh(f32v x) {
  const f32v v = math::at_most(abs(x), 10.f);
  const f32v y = math::through_double(v, [](f64v w) {
    const math::Exp e = math::exp_parts(w, 2 * dr::math::kLog2e, dr::math::kExp2Poly);
    const f64v less_one = fma(e.t, e.p, e.t - splat64(1));
    return less_one / (less_one + splat64(2));
  });
  return math::or_bits(y, math::sign_of(x));
}

namespace math {
// y where x is positive and finite; for the others what log gives.
DR_INLINE f32v log_domain(f32v x, f32v y) {
  const float inf = std::numeric_limits<float>::infinity();
  y = x == splat(inf) ? x : y;
  y = x == splat(0) ? splat(-inf) : y;
  return x >= splat(0) ? y : splat(std::numeric_limits<float>::quiet_NaN());
}
}  // namespace math

DR_INLINE f32v log(f32v x) {
  const f32v y = math::through_double(x, [](f64v v) { return math::log_core(v, v, false); });
  return math::log_domain(x, math::patch(x, y, dr::math::kLogPatches));
}

DR_INLINE f32v log1p(f32v x) {
  const f32v y = math::through_double(x, [](f64v v) { return math::log_core(v + splat64(1), v, true); });
  const f32v z = math::log_domain(x + splat(1), math::patch(x, y, dr::math::kLog1pPatches));
  return x == splat(0) ? x : z;
}

DR_INLINE f32v erf(f32v x) {
  const f32v v = math::at_most(abs(x), 3.9921875f);
  const f32v y = math::through_double(v, [](f64v w) {
    const f64v magic = splat64(0x1.8p52);
    const f64v shifted = fma(w, splat64(dr::math::kErfPerStep), magic);
    const f64v t = fma(magic - shifted, splat64(dr::math::kErfStep), w);
    const u64v n = bits<u64v>(shifted);
    f64v q = math::lookup16(dr::math::kErf[dr::math::kErfTerms - 1], n);
#pragma GCC unroll 16
    for (int i = dr::math::kErfTerms - 2; i >= 0; i--) q = fma(q, t, math::lookup16(dr::math::kErf[i], n));
    return q;
  });
  return math::or_bits(y, math::sign_of(x));
}

DR_INLINE f32v sin(f32v x) { return math::patch(x, math::sin_or_cos<false>(x), dr::math::kSinPatches); }
DR_INLINE f32v cos(f32v x) { return math::sin_or_cos<true>(x); }
DR_INLINE void sincos(f32v x, f32v& s, f32v& c) {
  s = sin(x);
  c = cos(x);
}

// 1 / sqrt(x); +inf for +0, -inf for -0.
DR_INLINE f32v rsqrt(f32v x) {
  return math::through_double(x, [](f64v v) { return splat64(1) / sqrt(v); });
}

// ---- one float ----

#if !defined(DR_BACKEND)
DR_INLINE float exp(float x) { return exp(splat(x))[0]; }
DR_INLINE float expm1(float x) { return expm1(splat(x))[0]; }
DR_INLINE float log(float x) { return log(splat(x))[0]; }
DR_INLINE float log1p(float x) { return log1p(splat(x))[0]; }
DR_INLINE float tanh(float x) { return tanh(splat(x))[0]; }
DR_INLINE float erf(float x) { return erf(splat(x))[0]; }
DR_INLINE float sin(float x) { return sin(splat(x))[0]; }
DR_INLINE float cos(float x) { return cos(splat(x))[0]; }
DR_INLINE float rsqrt(float x) { return rsqrt(splat(x))[0]; }
#endif

}  // namespace dr::DR_ISA
