#pragma once
// What core/gpu_sort.h needs of scratch memory, for the op structs that must say so.

#include <cstddef>
#include <cstdint>

namespace dr {

struct SortSize {
  static constexpr int kDigits = 256;       // a pass sorts by eight bits
  static constexpr int64_t kTile = 2048;    // items of a block
  static constexpr int64_t tiles(int64_t items) { return (items + kTile - 1) / kTile; }
  // Keys and items, twice; how often each digit occurs in each tile, and in all.
  static constexpr size_t words(int64_t items) { return size_t(4 * items + (tiles(items) + 1) * kDigits); }
  static constexpr size_t bytes(int64_t items) { return words(items) * sizeof(uint32_t); }
};

}  // namespace dr
