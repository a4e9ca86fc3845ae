#pragma once
// Scratch with which a device's GEMM (core/gpu_gemm.h) takes the chunks of K side by side.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/core/row_groups.h"

namespace dr {

struct GemmWaves {
  static constexpr int64_t kBlocks = 128, kLargestTile = 128;  // blocks that keep a device busy; a tile is a square
};

// A wave is no more than fills the device, so its sums are few; a product that fills it by itself needs none. `k` may
// be that of a whole batch of problems that lie side by side along K, as the leaves of a weight's gradient do.
inline size_t gemm_scratch_bytes(int64_t count, int64_t k) {  // count: elements of the product
  constexpr int64_t kFull = GemmWaves::kBlocks * GemmWaves::kLargestTile * GemmWaves::kLargestTile;
  const int64_t chunks = (k + RowGroups::kChunk - 1) / RowGroups::kChunk;
  if (chunks < 2 || count >= kFull) return 0;
  return size_t(std::min((chunks + 1) * count, 3 * kFull)) * sizeof(float);  // the sums, and those of the waves before
}

}  // namespace dr
