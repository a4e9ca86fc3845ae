#pragma once
// Vector types for CPU kernels. A `_cpu.cpp` is compiled once per instruction set (DR_ISA is portable, avx2 or avx512);
// its bodies, and everything below, live in `namespace dr::DR_ISA`, so one binary holds them all. Include this header
// last: the pragma at its end raises the instruction set for what follows and leaves the standard library's templates
// at the baseline, where the linker may merge them safely.
//
// A kernel is written once for W lanes of f32. Bits cannot depend on W: elementwise code has no order, and every sum
// follows reduce.h or the fma chains of the op's contract.

// In a `.cu` (DR_BACKEND is defined) this header is core/one_lane.h: the same vocabulary for one lane.

#if defined(DR_BACKEND)
#include "kernels/core/one_lane.h"
#else

#include <cstring>
#include <type_traits>

#include "kernels/core/context.h"
#include "kernels/core/view.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#ifndef DR_ISA
#error "a _cpu.cpp is compiled with -DDR_ISA=portable|avx2|avx512 and -DDR_ISA_<that name>"
#endif

#if defined(DR_ISA_avx512)
#pragma GCC target("avx2,fma,f16c,bmi2,avx512f,avx512dq,avx512bw,avx512vl,prefer-vector-width=512")
#elif defined(DR_ISA_avx2)
#pragma GCC target("avx2,fma,f16c,bmi2")
#endif

#define DR_INLINE inline __attribute__((always_inline))

namespace dr::DR_ISA {

inline constexpr Backend kBackend = Backend::DR_ISA;

#if defined(DR_ISA_avx512)
inline constexpr int W = 16;
#elif defined(DR_ISA_avx2)
inline constexpr int W = 8;
#else
inline constexpr int W = 4;
#endif

// W lanes of 32 bits; D = W/2 lanes of 64 bits fill the same register.
inline constexpr int D = W / 2;
typedef float f32v __attribute__((vector_size(W * 4)));
typedef int32_t i32v __attribute__((vector_size(W * 4)));
typedef uint32_t u32v __attribute__((vector_size(W * 4)));
typedef double f64v __attribute__((vector_size(W * 4)));
typedef int64_t i64v __attribute__((vector_size(W * 4)));
typedef uint64_t u64v __attribute__((vector_size(W * 4)));
typedef float f32h __attribute__((vector_size(W * 2)));
using maskv = i32v;  // what a comparison of 32-bit lanes gives: all ones where it holds, else 0
typedef int32_t i32h __attribute__((vector_size(W * 2)));
typedef uint16_t u16v __attribute__((vector_size(W * 2)));

DR_INLINE f32v splat(float v) { return v - f32v{}; }
DR_INLINE f64v splat64(double v) { return v - f64v{}; }
DR_INLINE i32v splat_i(int32_t v) { return v - i32v{}; }
DR_INLINE u32v splat_u(uint32_t v) { return v - u32v{}; }

template <class To, class From>
DR_INLINE To bits(From v) {  // same register, another element type
  static_assert(sizeof(To) == sizeof(From));
  return __builtin_bit_cast(To, v);
}

// ---- fused multiply-add, square root: always IEEE, never contracted by the compiler (-ffp-contract=off) ----

DR_INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
DR_INLINE double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
DR_INLINE float sqrt(float a) { return __builtin_sqrtf(a); }

#if defined(DR_ISA_avx512)
DR_INLINE f32v fma(f32v a, f32v b, f32v c) { return _mm512_fmadd_ps(a, b, c); }
DR_INLINE f64v fma(f64v a, f64v b, f64v c) { return _mm512_fmadd_pd(a, b, c); }
DR_INLINE f32v sqrt(f32v a) { return _mm512_sqrt_ps(a); }
DR_INLINE f64v sqrt(f64v a) { return _mm512_sqrt_pd(a); }
#elif defined(DR_ISA_avx2)
DR_INLINE f32v fma(f32v a, f32v b, f32v c) { return _mm256_fmadd_ps(a, b, c); }
DR_INLINE f64v fma(f64v a, f64v b, f64v c) { return _mm256_fmadd_pd(a, b, c); }
DR_INLINE f32v sqrt(f32v a) { return _mm256_sqrt_ps(a); }
DR_INLINE f64v sqrt(f64v a) { return _mm256_sqrt_pd(a); }
#else
DR_INLINE f32v fma(f32v a, f32v b, f32v c) {
  f32v r;
  for (int i = 0; i < W; i++) r[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return r;
}
DR_INLINE f64v fma(f64v a, f64v b, f64v c) {
  f64v r;
  for (int i = 0; i < D; i++) r[i] = __builtin_fma(a[i], b[i], c[i]);
  return r;
}
DR_INLINE f32v sqrt(f32v a) {
  f32v r;
  for (int i = 0; i < W; i++) r[i] = __builtin_sqrtf(a[i]);
  return r;
}
DR_INLINE f64v sqrt(f64v a) {
  f64v r;
  for (int i = 0; i < D; i++) r[i] = __builtin_sqrt(a[i]);
  return r;
}
#endif

// ---- halves, and conversion between f32 and f64 ----

template <class H, class V>
DR_INLINE H low_half(V v) {
  H h;
  std::memcpy(&h, &v, sizeof h);
  return h;
}
template <class H, class V>
DR_INLINE H high_half(V v) {
  H h;
  std::memcpy(&h, reinterpret_cast<const char*>(&v) + sizeof h, sizeof h);
  return h;
}
#if defined(DR_ISA_avx512)  // in intrinsics: g++ 12 sends the generic form through memory
DR_INLINE f64v widen_low(f32v v) { return _mm512_cvtps_pd(_mm512_castps512_ps256(v)); }
DR_INLINE f64v widen_high(f32v v) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1)); }
DR_INLINE f32v narrow(f64v low, f64v high) {  // rounds to nearest even
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)), _mm512_cvtpd_ps(high), 1);
}
#elif defined(DR_ISA_avx2)
DR_INLINE f64v widen_low(f32v v) { return _mm256_cvtps_pd(_mm256_castps256_ps128(v)); }
DR_INLINE f64v widen_high(f32v v) { return _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1)); }
DR_INLINE f32v narrow(f64v low, f64v high) {
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(low)), _mm256_cvtpd_ps(high), 1);
}
#else
DR_INLINE f64v widen_low(f32v v) { return __builtin_convertvector(low_half<f32h>(v), f64v); }
DR_INLINE f64v widen_high(f32v v) { return __builtin_convertvector(high_half<f32h>(v), f64v); }
DR_INLINE f32v narrow(f64v low, f64v high) {
  const f32h halves[2] = {__builtin_convertvector(low, f32h), __builtin_convertvector(high, f32h)};
  f32v r;
  std::memcpy(&r, halves, sizeof r);
  return r;
}
#endif

// ---- memory: any alignment; the *_n forms touch n <= W elements only and fill the rest with zero ----

DR_INLINE f32v load(const float* p) {
  f32v v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
DR_INLINE void store(float* p, f32v v) { std::memcpy(p, &v, sizeof v); }

// GCC 12 splits the generic conversion into five shuffles; the intrinsics are one instruction each.
DR_INLINE f32v widen_bf16(u16v h) {
#if defined(DR_ISA_avx512)
  return bits<f32v>(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits<__m256i>(h)), 16));
#elif defined(DR_ISA_avx2)
  return bits<f32v>(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits<__m128i>(h)), 16));
#else
  return bits<f32v>(__builtin_convertvector(h, u32v) << 16);
#endif
}
DR_INLINE f32v load(const bf16* p) {
  u16v h;
  std::memcpy(&h, p, sizeof h);
  return widen_bf16(h);
}
// to_bf16 of each lane.
DR_INLINE u16v round_bf16(f32v v) {
#if defined(DR_ISA_avx512)
  const __m512i b = bits<__m512i>(v), high = _mm512_srli_epi32(b, 16);
  const __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
  const __m512i sum = _mm512_add_epi32(_mm512_add_epi32(b, _mm512_set1_epi32(0x7fff)), odd);
  const __m512i rounded = _mm512_srli_epi32(sum, 16);
  const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
  const __m512i r = _mm512_mask_or_epi32(rounded, nan, high, _mm512_set1_epi32(0x40));
  return bits<u16v>(_mm512_cvtepi32_epi16(r));
#else
  const u32v b = bits<u32v>(v);
  const u32v rounded = (b + 0x7fffu + ((b >> 16) & 1u)) >> 16;
  const u32v nan = (b >> 16) | 0x40u;
  return __builtin_convertvector((b & 0x7fffffffu) > 0x7f800000u ? nan : rounded, u16v);
#endif
}
DR_INLINE void store(bf16* p, f32v v) {
  const u16v h = round_bf16(v);
  std::memcpy(p, &h, sizeof h);
}

#if defined(DR_ISA_avx512)
DR_INLINE f32v load_n(const float* p, int n) { return _mm512_maskz_loadu_ps(__mmask16((1u << n) - 1), p); }
DR_INLINE void store_n(float* p, f32v v, int n) { _mm512_mask_storeu_ps(p, __mmask16((1u << n) - 1), v); }
#elif defined(DR_ISA_avx2)
DR_INLINE __m256i lane_mask(int n) {
  return (__m256i)((i32v{0, 1, 2, 3, 4, 5, 6, 7} < n));
}
DR_INLINE f32v load_n(const float* p, int n) { return _mm256_maskload_ps(p, lane_mask(n)); }
DR_INLINE void store_n(float* p, f32v v, int n) { _mm256_maskstore_ps(p, lane_mask(n), v); }
#else
DR_INLINE f32v load_n(const float* p, int n) {
  f32v v{};
  for (int i = 0; i < n; i++) v[i] = p[i];
  return v;
}
DR_INLINE void store_n(float* p, f32v v, int n) {
  for (int i = 0; i < n; i++) p[i] = v[i];
}
#endif
DR_INLINE f32v load_n(const bf16* p, int n) {
  u16v h{};
  std::memcpy(&h, p, size_t(n) * 2);
  return widen_bf16(h);
}
DR_INLINE void store_n(bf16* p, f32v v, int n) {
  const u16v h = round_bf16(v);
  std::memcpy(p, &h, size_t(n) * 2);
}

DR_INLINE float load1(const float* p) { return *p; }
DR_INLINE float load1(const bf16* p) { return widen(*p); }
DR_INLINE void store1(float* p, float v) { *p = v; }
DR_INLINE void store1(bf16* p, float v) { *p = to_bf16(v); }

// f(i, n) for every run of n <= W elements of [0, count): n is the constant W but for the last run.
template <class F>
DR_INLINE void for_vectors(int64_t count, F&& f) {
  int64_t i = 0;
  for (; i + W <= count; i += W) f(i, std::integral_constant<int, W>{});
  if (i < count) f(i, int(count - i));
}
// Loads and stores for for_vectors' n: the full-width form costs no mask.
template <class T> DR_INLINE f32v load_n(const T* p, std::integral_constant<int, W>) { return load(p); }
template <class T> DR_INLINE void store_n(T* p, f32v v, std::integral_constant<int, W>) { store(p, v); }

// ---- order (numerics: -0 < +0, NaN propagates) is the business of the ops that need it; abs is bit clearing ----

DR_INLINE f32v abs(f32v v) { return bits<f32v>(bits<u32v>(v) & 0x7fffffffu); }
DR_INLINE i32v to_int(f32v v) { return __builtin_convertvector(v, i32v); }    // toward zero, |v| < 2^31
DR_INLINE f32v to_float(i32v v) { return __builtin_convertvector(v, f32v); }  // rounded to nearest even

// Selection by mask, for formulas that one_lane.h must understand too: there a mask is a bool.
DR_INLINE f32v pick(maskv mask, f32v a, f32v b) { return mask ? a : b; }
DR_INLINE i32v pick(maskv mask, i32v a, i32v b) { return mask ? a : b; }
DR_INLINE maskv everywhere() { return ~maskv{}; }

// Calls f with a null T* of the view's element type: f(float*) or f(bf16*).
template <class F>
DR_INLINE decltype(auto) with_float_type(DType t, F&& f) {
  if (t == DType::bf16) return f(static_cast<bf16*>(nullptr));
  return f(static_cast<float*>(nullptr));
}

}  // namespace dr::DR_ISA

#endif  // DR_BACKEND
