#pragma once
// Floor, lanes as numbers, pairs in memory: what kernels that compute coordinates need. Last include of a `_cpu.cpp`,
// as simd.h.

#include <utility>

#include "kernels/core/simd.h"

namespace dr::DR_ISA {

// floor(v) for |v| < 2^31: as an integer and, the sign of zero apart, as a float.
struct Floor {
  i32v integer;
  f32v value;
};
DR_INLINE Floor floor_of(f32v v) {
#if defined(DR_BACKEND)
  const f32v t = ::floorf(v);
#elif defined(DR_ISA_avx512)
  const f32v t = _mm512_roundscale_ps(v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
#elif defined(DR_ISA_avx2)
  const f32v t = _mm256_floor_ps(v);
#else
  const f32v toward_zero = to_float(to_int(v));
  const f32v t = toward_zero > v ? toward_zero - splat(1) : toward_zero;
#endif
  return {to_int(t), t};
}

struct Pairs {
  f32v a, b;
};

#if !defined(DR_BACKEND)

// 0, 1, 2, ... W-1.
DR_INLINE f32v lane_numbers() {
  f32v v;
  for (int i = 0; i < W; i++) v[i] = float(i);
  return v;
}

// Pairs (a, b) that lie one after the other in memory.
namespace lanes {
template <int... I>
DR_INLINE Pairs split(f32v low, f32v high, std::integer_sequence<int, I...>) {
  return {__builtin_shufflevector(low, high, (2 * I)...), __builtin_shufflevector(low, high, (2 * I + 1)...)};
}
template <int First, int... I>
DR_INLINE f32v join(f32v a, f32v b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (I % 2 * W + First + I / 2)...);
}
using All = std::make_integer_sequence<int, W>;
}  // namespace lanes

DR_INLINE Pairs load_pairs(const float* p, std::integral_constant<int, W>) {
  return lanes::split(load(p), load(p + W), lanes::All{});
}
DR_INLINE Pairs load_pairs(const float* p, int n) {
  const int low = 2 * n < W ? 2 * n : W;
  return lanes::split(load_n(p, low), load_n(p + low, 2 * n - low), lanes::All{});
}
DR_INLINE void store_pairs(float* p, f32v a, f32v b, std::integral_constant<int, W>) {
  store(p, lanes::join<0>(a, b, lanes::All{}));
  store(p + W, lanes::join<W / 2>(a, b, lanes::All{}));
}
DR_INLINE void store_pairs(float* p, f32v a, f32v b, int n) {
  const int low = 2 * n < W ? 2 * n : W;
  store_n(p, lanes::join<0>(a, b, lanes::All{}), low);
  store_n(p + low, lanes::join<W / 2>(a, b, lanes::All{}), 2 * n - low);
}

#endif  // !DR_BACKEND

}  // namespace dr::DR_ISA
