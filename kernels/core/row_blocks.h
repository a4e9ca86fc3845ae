#pragma once
// Rows that are each summed canonically (core/reduce.h), cut into blocks of 4096 elements so that a few long rows
// occupy every thread as many short ones do; and how many roundings a term of such a sum meets.

#include <algorithm>

#include "kernels/core/view.h"

namespace dr {

struct RowBlocks {
  int64_t rows = 0, cols = 0;

  static constexpr int64_t kBlock = 4096;  // kRowBlock of reduce.h, which only kernels can include
  explicit RowBlocks(const View& v) : rows(v.size(0)), cols(rows ? v.count() / rows : 0) {}
  int64_t per_row() const { return (cols + kBlock - 1) / kBlock; }
  size_t scratch_bytes() const { return size_t(rows * per_row()) * sizeof(float); }  // one sum per block
};

// Roundings that one term of a row sum of n meets: along its lane, five of the butterfly, one per level of the tree.
inline double row_depth(int64_t n) {
  double depth = double((std::min(n, RowBlocks::kBlock) + 31) / 32) + 5;
  for (int64_t blocks = (n + RowBlocks::kBlock - 1) / RowBlocks::kBlock; blocks > 1; blocks = (blocks + 1) / 2) depth++;
  return depth;
}

}  // namespace dr
