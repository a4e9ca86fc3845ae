#pragma once
// What is serial along contiguous rows, on a device: a group takes 32 rows, 32 columns of them at a time, through
// shared memory, so that its lanes touch neighbouring addresses and yet each walks along a row of its own. Last include
// of a `.cu`, as gpu.h.

#include "kernels/core/gpu_elementwise.h"

namespace dr::DR_BACKEND {

struct RowTile {
  float v[kGroup][kGroup + 1];  // [row][column]; one more, so that lanes walk in different banks

  // Columns [column, column + columns) of rows that begin at data + start, `start` being of the lane whose row it is.
  // The lanes see each other's stores after a group_sync.
  template <class T>
  DR_DEVICE void load(const T* data, int64_t start, int rows, int64_t column, int columns) {
    const int lane = lane_index();
    DR_UNROLL
    for (int r = 0; r < kGroup; r++) {
      const int64_t at = shuffle(start, r) + column + lane;
      if (r < rows && lane < columns) v[r][lane] = load1(data + at);
    }
  }
  template <class T>
  DR_DEVICE void store(T* data, int64_t start, int rows, int64_t column, int columns) const {
    const int lane = lane_index();
    DR_UNROLL
    for (int r = 0; r < kGroup; r++) {
      const int64_t at = shuffle(start, r) + column + lane;
      if (r < rows && lane < columns) store1(data + at, v[r][lane]);
    }
  }
  // The lane's row.
  DR_DEVICE float& operator[](int column) { return v[lane_index()][column]; }
};

// 32 rows, or what is left of them, that a group walks along.
struct RowWalk {
  int64_t first;
  int rows;
};

inline constexpr int kWalks = 2;  // groups of a block, each with tiles of its own: a wave of 64
template <int kTiles>
struct WalkTiles {
  RowTile of[kWalks][kTiles];
};

template <int kTiles, class F>
DR_KERNEL void row_walks_kernel(int64_t rows, F f) {
  const int64_t first = global_group() * kGroup, left = rows - first;
  if (left <= 0) return;
  f(RowWalk{first, left < kGroup ? int(left) : kGroup}, shared_memory<WalkTiles<kTiles>>().of[group_index()]);
}

// f(walk, tiles) for all rows, by a whole group each; tiles is a RowTile[kTiles].
template <int kTiles, class F>
void for_row_walks(const Context& ctx, int64_t rows, const F& f) {
  const LaunchShape shape{.grid = {blocks_for(rows, kWalks * kGroup)}, .threads = kWalks * kGroup,
                          .shared = sizeof(WalkTiles<kTiles>)};
  if (rows > 0) launch<row_walks_kernel<kTiles, F>>(ctx, shape, rows, f);
}

}  // namespace dr::DR_BACKEND
