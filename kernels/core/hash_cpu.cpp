#include "kernels/core/hash.h"

#include "kernels/core/simd.h"

namespace dr {
namespace DR_ISA {
namespace {

namespace k = hash_constants;

// (z mod 2^32) c in each 64-bit lane
DR_INLINE uint64_t multiply_low(uint64_t z, uint32_t c) { return uint64_t{uint32_t(z)} * c; }
#if defined(DR_ISA_avx512)
DR_INLINE u64v multiply_low(u64v z, uint32_t c) {
  return u64v(_mm512_mul_epu32(__m512i(z), _mm512_set1_epi64(int64_t(c))));
}
#elif defined(DR_ISA_avx2)
DR_INLINE u64v multiply_low(u64v z, uint32_t c) {
  return u64v(_mm256_mul_epu32(__m256i(z), _mm256_set1_epi64x(int64_t(c))));
}
#else
DR_INLINE u64v multiply_low(u64v z, uint32_t c) { return (z & 0xffffffffu) * uint64_t{c}; }
#endif

template <class V>
DR_INLINE V step(V z, uint32_t c) {
  return multiply_low(z, c) + (z >> 32);
}
template <class V>
DR_INLINE V fold(V z) {
  return z ^ (z >> 32);
}
template <class V>
struct Term {
  V low, high;
};
template <class V>
DR_INLINE Term<V> term(V g, V key) {
  const V w = fold(step(g ^ key, k::C));
  return {w >> 8, step(w, k::D)};
}

// Bits whose magnitude exceeds infinity's are a NaN. Types without NaN have kInfinity = 0.
template <auto kInfinity, class V>
DR_INLINE V canonical(V b) {
  if constexpr (kInfinity == 0) return b;
  else {
    constexpr auto kLowest = kInfinity & -kInfinity;       // the exponent's lowest bit
    constexpr auto kMagnitude = kInfinity | (kLowest - 1);  // all bits but the sign
    return (b & kMagnitude) > kInfinity ? (b ^ b) | (kInfinity | (kLowest >> 1)) : b;
  }
}

// W elements as two vectors of D: for types of up to 32 bits `even` holds elements 0, 2, 4, ... and `odd` the others
// (what their upper halves hold is not read); for 64-bit types `even` holds the first half.
struct Pair {
  u64v even, odd;
};
template <class T, auto kInfinity>
DR_INLINE Pair first_step(const T* p) {
  if constexpr (sizeof(T) == 8) {
    Pair b;
    std::memcpy(&b, p, sizeof b);
    return {step(canonical<kInfinity>(b.even), k::A), step(canonical<kInfinity>(b.odd), k::A)};
  } else {
    typedef T V __attribute__((vector_size(W * sizeof(T))));
    V v;
    std::memcpy(&v, p, sizeof v);
    const u64v b = bits<u64v>(canonical<kInfinity>(__builtin_convertvector(v, u32v)));
    return {multiply_low(b, k::A), multiply_low(u64v(b >> 32), k::A)};
  }
}

// Sums over steps t < n without a multiplication: s0 of g, p1 of (n - t) g, p2 of (n - t)(n - t + 1) / 2 g.
struct Locator {
  u64v s0{}, p1{}, p2{};

  DR_INLINE void add(u64v g) {
    s0 += g;
    p1 += s0;
    p2 += p1;
  }
  // Lane l's part where step t stands for position `base` + W t.
  void add_to(TensorHash& h, int l, uint64_t base, uint64_t n) const {
    const uint64_t t0 = s0[l], t1 = n * t0 - p1[l];                    // sums of g, t g
    const uint64_t t2 = n * (n * t0 - 2 * p1[l]) + 2 * p2[l] - p1[l];  // of t^2 g = n^2 g - 2 n (n - t) g + (n - t)^2 g
    h.s0 += t0;
    h.s1 += base * t0 + W * t1;
    h.s2 += base * (base * t0 + 2 * W * t1) + W * W * t2;
  }
};

template <class T, auto kInfinity>
TensorHash run(const void* data, int64_t first, int64_t n) {
  constexpr bool kWide = sizeof(T) == 8;
  constexpr int kOdd = kWide ? D : 1, kLane = kWide ? 1 : 2;  // element = kLane * lane, + kOdd in the odd vector
  const T* p = static_cast<const T*>(data);
  u64v key;
  for (int l = 0; l < D; l++) key[l] = uint64_t(first + kLane * l + 1) * k::K;
  u64v low_parts{}, high_parts{}, high{};
  Locator even_sums, odd_sums;
  int64_t i = 0;
  while (i + W <= n) {
    u64v low{};
    for (int block = 0; block < 128 && i + W <= n; block++, i += W) {  // 256 terms of 56 bits
      const Pair b = first_step<T, kInfinity>(p + i);
      const u64v g_even = step(fold(b.even), k::B), g_odd = step(fold(b.odd), k::B);
      const Term<u64v> even = term(g_even, key), odd = term(g_odd, key + kOdd * k::K);
      low += even.low + odd.low;
      high += even.high + odd.high;
      even_sums.add(g_even);
      odd_sums.add(g_odd);
      key += W * k::K;
    }
    low_parts += low & 0xffffffffu;
    high_parts += low >> 32;
  }
  TensorHash h;
  const uint64_t steps = uint64_t(i / W);
  for (int l = 0; l < D; l++) {
    const uint64_t base = uint64_t(first + kLane * l + 1);
    even_sums.add_to(h, l, base, steps);
    odd_sums.add_to(h, l, base + kOdd, steps);
    TensorHash lane;
    lane.low = low_parts[l];
    lane.high = high[l];
    h += lane;
    lane.low = high_parts[l] << 32;
    lane.high = high_parts[l] >> 32;
    h += lane;
  }
  for (; i < n; i++) {  // fewer than W are left
    const uint64_t index = uint64_t(first + i + 1),
                   g = step(fold(step(uint64_t{canonical<kInfinity>(p[i])}, k::A)), k::B);
    const Term<uint64_t> t = term(g, index * k::K);
    TensorHash one;
    one.low = t.low;
    one.high = t.high;
    one.s0 = g;
    one.s1 = index * g;
    one.s2 = index * index * g;
    h += one;
  }
  return h;
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
TensorHash hash_run<kBackend>(const void* data, DType dtype, int64_t first, int64_t n) {
  switch (dtype) {
    case DType::f32: return run<uint32_t, 0x7f800000u>(data, first, n);
    case DType::bf16: return run<uint16_t, 0x7f80u>(data, first, n);
    case DType::f64: return run<uint64_t, uint64_t{0x7ff0000000000000u}>(data, first, n);
    case DType::i32:
    case DType::u32: return run<uint32_t, 0u>(data, first, n);
    case DType::i64: return run<uint64_t, 0u>(data, first, n);
    case DType::u8: return run<uint8_t, 0u>(data, first, n);
  }
  fail("hash: dtype {} is unknown", int(dtype));
}

}  // namespace dr
