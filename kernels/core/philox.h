#pragma once
// Random numbers as a pure function of (seed, step, op id, global element index): no generator has state anywhere.
//
// Philox4x32-10 maps a 128-bit counter and a 64-bit key to four 32-bit words. The packing, fixed for good:
//   key      word 0: seed, low half      word 1: seed, high half
//   counter  word 0: block, low half     word 1: block, high half     word 2: op id     word 3: step
//   block = element / 4; element e takes word e % 4 of its block.
// The element index counts from the first element of the step's first sample, whichever rank or micro-batch holds it.
//
// From bits to numbers (24 bits each, so that every step but the last is exact in f32):
//   [0, 1)   (bits >> 8) 2^-24            (0, 1]   ((bits >> 8) + 1) 2^-24
// Normals come in pairs by Box and Muller's transform, words 0 and 1 of a block, then words 2 and 3: a radius from the
// first word, a point of the unit circle from the second. Both are a stated sequence of f32 operations, each rounded to
// nearest even, and of 32-bit integer ones; nothing else may stand in for them, on any processor. `poly` is Horner's
// scheme in fma, from the last coefficient on; as_int and as_float reinterpret; >> on i32 keeps the sign.
//   radius = sqrt(-2 log u), u = (0, 1] of the first word. u = 2^k m, sqrt(1/2) <= m < sqrt(2):
//     d = as_int(u) - kSqrtHalfBits      e = d & 0xff800000 (that is, k 2^23)      m = as_float(as_int(u) - e)
//     t = m - 1                          w = fma(t * t, poly(log_tail(), t), -2 * t)
//     radius = sqrt(fma(float(e), kLnScale, w))
//   circle, the second word being b: an angle within an eighth of a turn of the axis, from 24 bits and symmetric about
//   it, then one bit to mirror and one to swap the axes:
//     y = float((i32(b) >> 7) | 1) * 2^-24, odd multiples of 2^-24 between -1 and 1          q = y * y
//     s = y * poly(sin_series(), q)      c = fma(q, poly(cos_tail(), q), 1), its sign flipped if b & 1
//     (x0, x1) = b & 2 ? (s, c) : (c, s)
//   z(first) = radius * x0,  z(second) = radius * x1.         |z| <= 5.77, the radius of u = 2^-24
// The largest error over all 2^24 arguments, relative to the exact function of the same u or y: kRadiusError,
// kSinError and kCosError below.
// Source: Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3" (SC11); Box & Muller 1958.
//
// Everything here is stateless and allocation-free, for host and device code alike; philox_simd.h has it for vectors.

#include <cstdint>

namespace dr {

struct PhiloxWords {
  uint32_t x[4];
};

inline constexpr uint32_t kPhiloxM0 = 0xd2511f53u, kPhiloxM1 = 0xcd9e8d57u;  // multipliers
inline constexpr uint32_t kPhiloxW0 = 0x9e3779b9u, kPhiloxW1 = 0xbb67ae85u;  // key increments per round
inline constexpr int kPhiloxRounds = 10;

constexpr PhiloxWords philox4x32(PhiloxWords counter, uint32_t key0, uint32_t key1) {
  PhiloxWords c = counter;
  for (int round = 0; round < kPhiloxRounds; round++) {
    const uint64_t p0 = uint64_t{kPhiloxM0} * c.x[0], p1 = uint64_t{kPhiloxM1} * c.x[2];
    c = {{uint32_t(p1 >> 32) ^ c.x[1] ^ key0, uint32_t(p1), uint32_t(p0 >> 32) ^ c.x[3] ^ key1, uint32_t(p0)}};
    key0 += kPhiloxW0;
    key1 += kPhiloxW1;
  }
  return c;
}

// The numbers of one op call.
struct RandomStream {
  uint64_t seed = 0;
  uint32_t step = 0, op_id = 0;
};

// An op takes seed and step from a tensor {seed low, seed high, step, reserved}: a captured graph would freeze a field.
inline constexpr int kRngWords = 4;
constexpr RandomStream random_stream(const uint32_t* rng, uint32_t op_id) {
  return {rng[0] | uint64_t{rng[1]} << 32, rng[2], op_id};
}

constexpr PhiloxWords random_block(const RandomStream& s, uint64_t block) {
  return philox4x32({{uint32_t(block), uint32_t(block >> 32), s.op_id, s.step}}, uint32_t(s.seed),
                    uint32_t(s.seed >> 32));
}
constexpr uint32_t random_bits(const RandomStream& s, uint64_t element) {
  return random_block(s, element / 4).x[element % 4];
}

constexpr float uniform_below_one(uint32_t bits) { return float(bits >> 8) * 0x1p-24f; }         // [0, 1)
constexpr float uniform_above_zero(uint32_t bits) { return float((bits >> 8) + 1) * 0x1p-24f; }  // (0, 1]

// ---- normals: coefficients near the minimax ones, rounded to f32 from the first on, the others fitted anew ----

// Functions, because device code cannot refer to a host's array.
template <int N>
struct Coefficients {
  float c[N];
};
// -2 log(1 + t) = -2 t + t^2 P(t) for sqrt(1/2) <= 1 + t < sqrt(2), weighted so that the radius is even in its error.
constexpr Coefficients<8> log_tail() {
  return {{0x1.ffffc8p-1f, -0x1.55579ap-1f, 0x1.000f02p-1f, -0x1.98b55cp-2f, 0x1.51faccp-2f, -0x1.31703ep-2f,
           0x1.2cb8c8p-2f, -0x1.769368p-3f}};
}
// sin(pi/4 y) = y S(y^2) and cos(pi/4 y) = 1 + y^2 C(y^2) for |y| <= 1.
constexpr Coefficients<4> sin_series() { return {{0x1.921fb6p-1f, -0x1.4abc24p-4f, 0x1.4680a4p-9f, -0x1.33198ep-15f}}; }
constexpr Coefficients<4> cos_tail() { return {{-0x1.3bd3ccp-2f, 0x1.03c1b0p-6f, -0x1.55b2b2p-12f, 0x1.d4f47ap-19f}}; }
inline constexpr float kLnScale = -0x1.62e430p-23f;  // -2 log(2) 2^-23, off by 0.05 units of 2^-24
inline constexpr uint32_t kSqrtHalfBits = 0x3f3504f3u;  // the f32 nearest to sqrt(1/2)
// In units of 2^-24, rounded up to a multiple of 1/8: all arguments against the long double functions give 1.693 for
// the radius (0.010 on average), 2.092 for the sine, 1.228 for the cosine.
inline constexpr double kRadiusError = 1.75, kSinError = 2.125, kCosError = 1.25;

// Not constexpr, because clang has no constant fma and sqrt.
#if defined(__CUDACC__) || defined(__HIPCC__)
#define DR_HOST_DEVICE __host__ __device__ inline
#else
#define DR_HOST_DEVICE inline
#endif

namespace philox_detail {
#if defined(__CUDA_ARCH__)  // the intrinsics, because compiler flags may loosen the others
DR_HOST_DEVICE float fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
DR_HOST_DEVICE float sqrt(float a) { return __fsqrt_rn(a); }
#else
DR_HOST_DEVICE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
DR_HOST_DEVICE float sqrt(float a) { return __builtin_sqrtf(a); }
#endif
template <int N>
DR_HOST_DEVICE float poly(const Coefficients<N>& p, float x) {
  float y = p.c[N - 1];
  for (int i = N - 2; i >= 0; i--) y = fma(y, x, p.c[i]);
  return y;
}
}  // namespace philox_detail

// The radius of a pair of normals, from its first word.
DR_HOST_DEVICE float normal_radius(uint32_t bits) {
  const uint32_t u = __builtin_bit_cast(uint32_t, uniform_above_zero(bits));
  const uint32_t e = (u - kSqrtHalfBits) & 0xff800000u;
  const float t = __builtin_bit_cast(float, u - e) - 1;
  const float w = philox_detail::fma(t * t, philox_detail::poly(log_tail(), t), -2 * t);
  return philox_detail::sqrt(philox_detail::fma(float(int32_t(e)), kLnScale, w));
}

// The point of the unit circle, from the second word, and the y of the contract.
constexpr float circle_argument(uint32_t bits) { return float((int32_t(bits) >> 7) | 1) * 0x1p-24f; }
struct CirclePoint {
  float x[2];
};
DR_HOST_DEVICE CirclePoint normal_circle(uint32_t bits) {
  const float y = circle_argument(bits), q = y * y;
  const float s = y * philox_detail::poly(sin_series(), q);
  const float c = philox_detail::fma(q, philox_detail::poly(cos_tail(), q), 1.f), mirrored = bits & 1 ? -c : c;
  return bits & 2 ? CirclePoint{{s, mirrored}} : CirclePoint{{mirrored, s}};
}

// The normal of an element whose block's words are w and whose place in it is `word`.
DR_HOST_DEVICE float normal(const PhiloxWords& w, int word) {
  return normal_radius(w.x[word & ~1]) * normal_circle(w.x[word | 1]).x[word & 1];
}
#undef DR_HOST_DEVICE

// Double references have no Context: they compute the numbers of this op id from sample 0 on, which is what tests call.
inline constexpr uint32_t kReferenceOpId = 7;

}  // namespace dr
