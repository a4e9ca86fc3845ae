#pragma once
// Floats as integers of the same order: -NaN apart, -inf < ... < -0 < +0 < ... < +inf. What min, max, argmax and order
// statistics compare (numerics: order statistics). Last include of a `_cpu.cpp`, as simd.h.

#include <bit>
#include <climits>

#include "kernels/core/simd.h"

namespace dr::DR_ISA {

// A bijection, and its own inverse on bits.
DR_INLINE int32_t order_bits(int32_t b) { return b ^ ((b >> 31) & INT32_MAX); }
#if !defined(DR_BACKEND)
DR_INLINE i32v order_bits(i32v b) { return b ^ ((b >> 31) & INT32_MAX); }
#endif

// Keys under which every NaN is the greatest, and one of its own. `flip` is 0; or -1, which turns the order of the
// others round. No key is INT32_MIN.
inline constexpr int32_t kNanKey = INT32_MAX;
DR_INLINE i32v order_key(f32v v, int32_t flip = 0) {
  return v != v ? splat_i(kNanKey) : order_bits(bits<i32v>(v)) ^ flip;
}
// The element that has the key; any NaN comes back as the quiet one.
DR_INLINE float from_order_key(int32_t key, int32_t flip = 0) {
  return std::bit_cast<float>(key == kNanKey ? 0x7fc00000 : order_bits(key ^ flip));
}
#if !defined(DR_BACKEND)
DR_INLINE f32v from_order_key(i32v key, int32_t flip = 0) {
  return bits<f32v>(key == kNanKey ? splat_i(0x7fc00000) : order_bits(key ^ flip));
}

// The greatest lane.
template <int N>
DR_INLINE int32_t greatest(auto v) {
  if constexpr (N == 1) {
    return v[0];
  } else {
    typedef int32_t Half __attribute__((vector_size(N * 2)));
    const Half low = low_half<Half>(v), high = high_half<Half>(v);
    return greatest<N / 2>(low > high ? low : high);
  }
}
DR_INLINE int32_t greatest(i32v v) { return greatest<W>(v); }
#endif

}  // namespace dr::DR_ISA
