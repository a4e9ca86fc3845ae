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
// Normals come in pairs by Box and Muller's transform, words 0 and 1 of a block, then words 2 and 3. In f32:
//   u = (0, 1] of the first word, v = [0, 1) of the second
//   radius = sqrt(-2 log(u)),  angle = kTwoPi v,  z(first) = radius cos(angle),  z(second) = radius sin(angle)
// with log, sqrt, cos and sin correctly rounded and each product rounded once. |z| <= sqrt(48 ln 2) = 5.77.
// Source: Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3" (SC11); Box & Muller 1958.
//
// Everything here is constexpr and allocation-free, for host and device code alike; philox_simd.h has it for vectors.

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

inline constexpr float kTwoPi = 0x1.921fb6p2f;  // the f32 nearest to 2 pi

// Double references have no Context: they compute the numbers of this op id from sample 0 on, which is what tests call.
inline constexpr uint32_t kReferenceOpId = 7;

}  // namespace dr
