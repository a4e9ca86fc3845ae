#pragma once
// What rows added by index take on a device (gather/gpu_indexed_rows.h).

#include <algorithm>

#include "kernels/core/place_sort.h"
#include "kernels/core/row_groups.h"

namespace dr {

// to[b,n] = sum of from[b,m] over the m with index n, for b < batch, n < rows, m < indices; `sets` lists of indices, of
// which b has its own where there are several.
struct IndexedSums {
  int64_t batch = 1, sets = 1, rows = 0, indices = 0, elements = 0;

  static constexpr int64_t kChunk = RowGroups::kChunk;
  PlaceSort sort() const { return {sets, indices, rows + 1}; }  // key `rows`: no row
  int64_t chunks() const { return (indices + kChunk - 1) / kChunk; }

  // In words of 4 bytes: the sort, where each row's sources begin, sums of chunks that are not a row's first.
  size_t begins() const { return size_t(sets * (rows + 1)); }
  size_t partials() const { return size_t(batch * (chunks() > 1 ? chunks() : 0) * elements); }
  size_t words() const { return sort().words() + begins() + partials(); }
  size_t bytes() const { return words() * sizeof(int32_t); }
};

}  // namespace dr
