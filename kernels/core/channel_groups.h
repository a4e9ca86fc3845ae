#pragma once
// Normalisation over the pixels and the channels of a group: what group normalisation (a unit is a sample) and batch
// normalisation (a unit is a leaf, a group one channel) share.
//
// Order of the statistics of one group of one unit. A cell is a chunk of 512 pixels of one channel, n of them:
//   sum = chain of additions from +0, m = sum / n, q = fma chain of (x - m)^2 from +0, over the cell's pixels in order
//   total[c] = the sums of channel c added in ascending order of its chunks
//   mean = (row sum of total over the group's channels) / count,  count = pixels * channels of the group
//   spread[c]: over the chunks in ascending order, chain of additions of fma(n d, d, q), d = m - mean
//   variance = (row sum of spread over the group's channels) / count,  rstd = rsqrt(variance + eps)
// So the variance has two passes, but over one cell at a time: the pixels are read from memory once.
// Order of the backward sums: column sums over the unit's pixels, by chunks of 512 that are added in ascending order,
//   then row sums over the group's channels.

#include <bit>

#include "kernels/core/chain_depth.h"
#include "kernels/core/pixels.h"
#include "kernels/core/row_groups.h"

namespace dr {

struct ChannelGroups {
  int64_t units, rows, cols, groups;  // rows: the pixels of a unit; groups of cols / groups channels each

  static constexpr int64_t kChunk = RowGroups::kChunk;
  int64_t chunks() const { return (rows + kChunk - 1) / kChunk; }
  int64_t width() const { return cols / groups; }
  float count() const { return float(rows * width()); }

  // Additions that one term of a sum over a group goes through: along the pixels, then across lanes, butterfly and tree.
  double depth() const {
    const int64_t blocks = (width() + 4095) / 4096;
    return chain_depth(rows) + double((std::min<int64_t>(width(), 4096) + 31) / 32 + 5) + std::bit_width(uint64_t(blocks));
  }

  // Two rows of channels for each chunk of each unit, and kPerUnit for each unit.
  static constexpr int64_t kPerUnit = 6;
  int64_t unit_floats() const { return (2 * chunks() + kPerUnit) * cols; }
  size_t scratch_bytes() const { return size_t(units * unit_floats()) * sizeof(float); }
  // On a device: then chunks of units, in the gradients of what units share.
  size_t device_scratch_bytes() const { return scratch_bytes() + RowGroups(1, units, cols).scratch_bytes(2); }
};

}  // namespace dr
