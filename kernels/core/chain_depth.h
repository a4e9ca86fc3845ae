#pragma once
// The length of an fma chain, and how many roundings one term of a canonical dot product goes through: what contracts,
// error bounds and kernels all need of the order of summation.

#include <algorithm>
#include <cstdint>

namespace dr {

// A dot product of n terms: at most 512 roundings in its chunk, then one for each later chunk. An error bound in units
// of u is this times the sum of the terms' magnitudes.
inline double chain_depth(int64_t n) {
  constexpr int64_t kChunk = 512;  // kChainChunk of reduce.h, which only kernels can include
  return double(std::min(n, kChunk) + (n + kChunk - 1) / kChunk);
}

// The same on matrix tiles, as a multiple of chain_depth: steps of 16 terms, each term and each step's sum truncated at worst,
// which costs 2 u where rounding costs u; and each of `rounded` operands that come as f32 is rounded to bf16, 2^15 u.
inline double tile_factor(int64_t n, int rounded = 0) {
  return n > 0 ? (2 * double(n + n / 16 + 2) + 0x1p15 * rounded) / chain_depth(n) : 1;
}

}  // namespace dr
