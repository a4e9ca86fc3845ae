#pragma once
// Division by a number that the host knows, for indices that are taken apart in a kernel's inner loop: a product and a
// shift in place of the tens of instructions that a device divides by. Last include of a `.cu`, as gpu.h.

#include "kernels/core/gpu.h"

namespace dr::DR_BACKEND {

// For n < 2^31. With l = ceil(log2 d), (2^(31+l) + e) / d for some 0 < e <= d <= 2^l is near enough to 2^(31+l) / d
// (Granlund & Montgomery 1994).
struct Divisor {
  uint32_t d = 1, multiplier = (1u << 31) + 1, shift = 31;

  Divisor() = default;
  explicit Divisor(int64_t divisor) : d(uint32_t(divisor)) {
    CHECK(divisor > 0 && divisor <= INT32_MAX, "a kernel's indices: a size of {}; accepted: 1 to {}", divisor,
          INT32_MAX);
    while ((uint64_t{1} << (shift - 31)) < d) shift++;
    multiplier = uint32_t((uint64_t{1} << shift) / d + 1);
  }
  struct Parts {
    uint32_t quotient, rest;
  };
  DR_DEVICE Parts operator()(uint32_t n) const {
    const uint32_t q = uint32_t((uint64_t(n) * multiplier) >> shift);
    return {q, n - q * d};
  }
};

}  // namespace dr::DR_BACKEND
