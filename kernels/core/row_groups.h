#pragma once
// Rows of a matrix in groups of equally many (a frame's, a leaf's), whose columns are summed group by group: chunks of
// 512 rows, a chain inside a chunk, chunk sums added in ascending order.

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace dr {

struct RowGroups {
  int64_t groups = 1, rows = 0, cols = 0;  // rows of a group

  static constexpr int64_t kChunk = 512;
  RowGroups(int64_t groups_, int64_t all_rows, int64_t cols_)
      : groups(groups_), rows(groups_ ? all_rows / groups_ : 0), cols(cols_) {}
  int64_t chunks() const { return std::max<int64_t>(1, (rows + kChunk - 1) / kChunk); }  // of a group

  // Chunk 0 sums in the result itself; the others need room for `sums` rows each.
  size_t scratch_bytes(int sums) const { return size_t(groups * (chunks() - 1) * sums * cols) * sizeof(float); }
};

}  // namespace dr
