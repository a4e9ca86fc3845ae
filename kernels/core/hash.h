#pragma once
// The hash of a tensor: sums over its elements, so any device computes it in parallel and the order does not matter.
//
//   b       element i's bits, zero-extended to 64; every NaN becomes its type's canonical quiet NaN
//   step(z, c) = (z mod 2^32) c + floor(z / 2^32) mod 2^64     one multiply-with-carry step, c < 2^32
//   fold(z)    = z ^ (z >> 32)
//   g       = step(fold(step(b, A)), B)               one to one for types of at most 32 bits
//   w       = fold(step(g ^ (i + 1) K, C)),   low = w >> 8,   high = step(w, D)
//   hash    = sum_i (high 2^64 + low)                       mod 2^128
//   locator = s0 = sum_i g,   s1 = sum_i (i + 1) g,   s2 = sum_i (i + 1)^2 g           mod 2^64
// i is the element's logical (row-major) index. Where two tensors of one shape differ in exactly one element, i + 1 is
// the quotient of the differences of s1 and s0, and s2 confirms it: see runtime/hash.h.
// The eight bits that low leaves out let a 64-bit lane add 256 terms before a carry.

#include "kernels/core/context.h"
#include "kernels/core/view.h"

namespace dr {

struct TensorHash {
  uint64_t low = 0, high = 0;       // the 128-bit hash
  uint64_t s0 = 0, s1 = 0, s2 = 0;  // the locator

  bool operator==(const TensorHash&) const = default;
  TensorHash& operator+=(const TensorHash& o) {
    low += o.low;
    high += o.high + (low < o.low);
    s0 += o.s0;
    s1 += o.s1;
    s2 += o.s2;
    return *this;
  }
};

namespace hash_constants {
inline constexpr uint64_t K = 0x9e3779b97f4a7c15u;                            // 2^64 / golden ratio
// Odd, about half their bits set.
inline constexpr uint32_t A = 0xf1357aebu, B = 0xfd2b4d73u, C = 0xe4a3c6c5u, D = 0xf84d6b2fu;
}  // namespace hash_constants

// The terms of n consecutive elements at `data`, the first of which has logical index `first`.
template <Backend B>
TensorHash hash_run(const void* data, DType dtype, int64_t first, int64_t n);
TensorHash hash_run(Backend backend, const void* data, DType dtype, int64_t first, int64_t n);

}  // namespace dr
