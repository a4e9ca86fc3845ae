#pragma once
// How much a device's sort of places by key takes (core/gpu_sort.h); known to the host before there is a kernel.

#include <bit>
#include <cstddef>
#include <cstdint>

namespace dr {

// Lists of `count` places each, every place with a key in [0, keys).
struct PlaceSort {
  int64_t lists = 1, count = 0, keys = 1;

  static constexpr int kTile = 2048;    // places that a block counts and puts in order
  static constexpr int kMostBits = 8;   // of a key, at a time
  int64_t tiles() const { return (count + kTile - 1) / kTile; }  // of a list
  int key_bits() const { return std::bit_width(uint64_t(keys > 1 ? keys - 1 : 1)); }
  int passes() const { return (key_bits() + kMostBits - 1) / kMostBits; }
  int digit_bits() const { return (key_bits() + passes() - 1) / passes(); }

  // In int32_t: keys and places twice, from one of which a pass goes to the other, and each tile's counts.
  size_t pairs() const { return size_t(lists * count); }
  size_t counts() const { return size_t(lists * tiles()) << digit_bits(); }
  size_t words() const { return 4 * pairs() + counts(); }
};

}  // namespace dr
