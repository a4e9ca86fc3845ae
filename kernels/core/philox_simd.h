#pragma once
// philox.h for vectors: W blocks, 4 W numbers at once. Word for word the same bits as the scalar form.
// Last include of a `_cpu.cpp`, as simd.h.

#include <utility>

#include "kernels/core/philox.h"

#include "kernels/core/simd.h"

namespace dr::DR_ISA {

// x[j], lane i: word j of block i.
struct PhiloxVectors {
  u32v x[4];
};

// The 64-bit products of the low halves of 64-bit lanes.
DR_INLINE u64v multiply_low(u64v a, uint32_t m) {
  const u64v b = u64v{} + m;
#if defined(DR_ISA_avx512)
  return (u64v)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif defined(DR_ISA_avx2)
  return (u64v)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__x86_64__)
  return (u64v)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
  return (a & 0xffffffffu) * b;
#endif
}

// The upper half of each 64-bit lane, brought to the lower; the new upper half is of no interest.
DR_INLINE u64v upper(u64v p) {
#if defined(DR_ISA_avx512)
  return (u64v)_mm512_shuffle_epi32((__m512i)p, _MM_PERM_DDBB);  // where shifts would take the multiplier's port
#elif defined(DR_ISA_avx2)
  return (u64v)_mm256_shuffle_epi32((__m256i)p, 0xf5);
#else
  return p >> 32;
#endif
}

// A stream's constants, spread over lanes once per run: round keys, and the two counter words that do not change.
struct PhiloxStream {
  u64v key0[kPhiloxRounds], key1[kPhiloxRounds], op, step;

  explicit PhiloxStream(const RandomStream& s) : op(u64v{} + uint64_t{s.op_id}), step(u64v{} + uint64_t{s.step}) {
    uint32_t k0 = uint32_t(s.seed), k1 = uint32_t(s.seed >> 32);
    for (int round = 0; round < kPhiloxRounds; round++, k0 += kPhiloxW0, k1 += kPhiloxW1) {
      key0[round] = u64v{} + uint64_t{k0};
      key1[round] = u64v{} + uint64_t{k1};
    }
  }
};

// N times D blocks: a state is kept one word per 64-bit lane. What a product leaves in the upper half is never read, so
// a round is two multiplies, two shuffles and two three-way xors.
template <int N>
DR_INLINE void philox_rounds(const PhiloxStream& s, u64v (&c)[N][4]) {
#pragma GCC unroll 10
  for (int round = 0; round < kPhiloxRounds; round++) {
#pragma GCC unroll 4
    for (int i = 0; i < N; i++) {
      const u64v p0 = multiply_low(c[i][0], kPhiloxM0), p1 = multiply_low(c[i][2], kPhiloxM1);
      c[i][0] = upper(p1) ^ c[i][1] ^ s.key0[round];
      c[i][1] = p1;
      c[i][2] = upper(p0) ^ c[i][3] ^ s.key1[round];
      c[i][3] = p0;
    }
  }
}

// out[g]: blocks first + g W .. first + g W + W - 1. Even blocks lie in one state, odd ones in another, so that merging
// halves restores their order. A round waits long for its products: G groups at once hide that.
template <int G>
DR_INLINE void philox_blocks(const PhiloxStream& s, uint64_t first, PhiloxVectors (&out)[G]) {
  u64v lane;
  for (int i = 0; i < D; i++) lane[i] = uint64_t(2 * i);
  u64v c[2 * G][4];
  for (int i = 0; i < 2 * G; i++) {
    const u64v block = lane + (first + uint64_t(i / 2 * W + i % 2));
    c[i][0] = block, c[i][1] = block >> 32, c[i][2] = s.op, c[i][3] = s.step;
  }
  philox_rounds(s, c);
  for (int g = 0; g < G; g++)
    for (int j = 0; j < 4; j++) out[g].x[j] = bits<u32v>((c[2 * g][j] & 0xffffffffu) | (c[2 * g + 1][j] << 32));
}

DR_INLINE f32v uniform_below_one(u32v b) { return __builtin_convertvector(bits<i32v>(b >> 8), f32v) * splat(0x1p-24f); }
DR_INLINE f32v uniform_above_zero(u32v b) {
  return __builtin_convertvector(bits<i32v>((b >> 8) + 1), f32v) * splat(0x1p-24f);
}

template <int N>
DR_INLINE f32v poly(const Coefficients<N>& p, f32v x) {
  f32v y = splat(p.c[N - 1]);
#pragma GCC unroll 8
  for (int i = N - 2; i >= 0; i--) y = fma(y, x, splat(p.c[i]));
  return y;
}

// Box and Muller's pair, the sequence stated in philox.h.
DR_INLINE void normal_pair(u32v first, u32v second, f32v& z0, f32v& z1) {
  const u32v u = bits<u32v>(uniform_above_zero(first)), e = (u - kSqrtHalfBits) & 0xff800000u;
  const f32v t = bits<f32v>(u - e) - splat(1.f);
  const f32v w = fma(t * t, poly(log_tail(), t), splat(-2.f) * t);
  const f32v radius = sqrt(fma(__builtin_convertvector(bits<i32v>(e), f32v), splat(kLnScale), w));
  const f32v y = __builtin_convertvector((bits<i32v>(second) >> 7) | 1, f32v) * splat(0x1p-24f), q = y * y;
  const f32v s = radius * (y * poly(sin_series(), q));
  const f32v cosine = fma(q, poly(cos_tail(), q), splat(1.f));
  const f32v c = radius * bits<f32v>(bits<u32v>(cosine) ^ (second << 31));
  const i32v swap = bits<i32v>(second & 2u) != 0;
  z0 = swap ? s : c;
  z1 = swap ? c : s;
}

// Alternates the elements of a and b; the low or the high half of the result.
template <int First, int... I>
DR_INLINE f32v zip(f32v a, f32v b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (First + I / 2 + I % 2 * W)...);
}
DR_INLINE f32v zip_low(f32v a, f32v b) { return zip<0>(a, b, std::make_integer_sequence<int, W>{}); }
DR_INLINE f32v zip_high(f32v a, f32v b) { return zip<W / 2>(a, b, std::make_integer_sequence<int, W>{}); }

// Numbers for elements [first, first + count) of a stream.
//   values(words, v)   turns PhiloxVectors into four vectors, v[j] for word j
//   emit(i, v, n)      takes the values of elements first + i .. first + i + n - 1; n as in for_vectors
// A run may begin and end anywhere: a block is always computed whole, and what lies outside the run is dropped.
template <class Values, class Emit>
DR_INLINE void for_random(const RandomStream& s, uint64_t first, int64_t count, Values&& values, Emit&& emit) {
  constexpr int kGroups = W == 16 ? 2 : 1;  // as many states as registers hold
  constexpr int64_t kRun = 4 * W * kGroups;
  const PhiloxStream stream(s);
  uint64_t block = first / 4;
  for (int64_t i = -int64_t(first % 4); i < count; i += kRun, block += W * kGroups) {
    PhiloxVectors words[kGroups];
    philox_blocks(stream, block, words);
    f32v ordered[4 * kGroups];
#pragma GCC unroll 2
    for (int g = 0; g < kGroups; g++) {
      f32v v[4];
      values(words[g], v);
      const f32v a = zip_low(v[0], v[2]), b = zip_high(v[0], v[2]), c = zip_low(v[1], v[3]), d = zip_high(v[1], v[3]);
      ordered[4 * g] = zip_low(a, c), ordered[4 * g + 1] = zip_high(a, c);
      ordered[4 * g + 2] = zip_low(b, d), ordered[4 * g + 3] = zip_high(b, d);
    }
    if (i >= 0 && i + kRun <= count) {
#pragma GCC unroll 8
      for (int j = 0; j < 4 * kGroups; j++) emit(i + j * W, ordered[j], std::integral_constant<int, W>{});
      continue;
    }
    float part[kRun];
    for (int j = 0; j < 4 * kGroups; j++) store(part + j * W, ordered[j]);
    const int64_t begin = i < 0 ? 0 : i, end = i + kRun < count ? i + kRun : count;
    for_vectors(end - begin, [&](int64_t j, auto n) { emit(begin + j, load_n(part + (begin - i) + j, n), n); });
  }
}

}  // namespace dr::DR_ISA
