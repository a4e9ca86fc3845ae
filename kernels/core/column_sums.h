#pragma once
// Column sums per group of rows (gradients of a frame's gate, of a leaf's weight) taken in the same walk over the rows
// that computes the row's own outputs, so that the rows are read from memory once.
// Last include of a `_cpu.cpp`, as simd.h.

#include <algorithm>
#include <array>
#include <vector>

#include "kernels/core/reduce.h"
#include "kernels/core/row_groups.h"
#include "kernels/core/stream.h"

namespace dr::DR_ISA {

static_assert(RowGroups::kChunk == kChainChunk);

inline constexpr int64_t kRowsPerPiece = 8;   // of parallel work at least: 8 rows of 768 are a few microseconds
inline constexpr int64_t kStripColumns = 64;  // of a strip of columns: four cache lines of each row

template <int N>
using Sums = std::array<float*, N>;  // one chunk's running sums by column; null: not wanted

template <class T>
DR_INLINE T* row_of(const View& v, int64_t r) {
  return static_cast<T*>(v.data) + r * v.stride(0);
}

// row(r, sums): computes a row's outputs and adds its columns to those sums that are not null.
// columns(r, begin, end, sums): adds columns [begin, end) alone; sums point at column `begin`.
// grads: (groups, C) f32, any row stride, absent where not wanted. stream: row() streams its stores.
// One walk where there are chunks enough for every thread; else the rows first, then the sums by strips of columns.
template <int N, class Row, class Columns>
void rows_and_column_sums(Context& ctx, const RowGroups& g, const std::array<View, N>& grads, bool stream, Row&& row,
                          Columns&& columns) {
  const int64_t cols = g.cols, chunks = g.chunks(), units = g.groups * chunks;
  bool wanted = false;
  for (const View& grad : grads) wanted |= grad.present();

  if (wanted && units >= 2 * ctx.threads()) {
    float* partial = ctx.scratch_as<float>(g.scratch_bytes(N) / sizeof(float));
    auto sums_of = [&](int64_t group, int64_t chunk) {
      Sums<N> sums{};
      for (int k = 0; k < N; k++)
        if (grads[k])
          sums[k] = chunk == 0 ? row_of<float>(grads[k], group)
                               : partial + ((group * (chunks - 1) + chunk - 1) * N + k) * cols;
      return sums;
    };
    const int64_t grain = std::max<int64_t>(1, kRowsPerPiece / std::max<int64_t>(1, g.rows));
    ctx.parallel(units, grain, [&](int64_t begin, int64_t end) {
      for (int64_t unit = begin; unit < end; unit++) {
        const int64_t group = unit / chunks, chunk = unit % chunks;
        const Sums<N> sums = sums_of(group, chunk);
        for (float* sum : sums)
          if (sum) std::memset(sum, 0, size_t(cols) * sizeof(float));
        const int64_t last = std::min((chunk + 1) * kChainChunk, g.rows);
        for (int64_t r = chunk * kChainChunk; r < last; r++) row(group * g.rows + r, sums);
      }
      stream_fence(stream);
    });
    for (int64_t group = 0; group < g.groups; group++)
      for (int64_t chunk = 1; chunk < chunks; chunk++)
        for (int k = 0; k < N; k++) {
          if (!grads[k]) continue;
          float* total = sums_of(group, 0)[k];
          const float* part = sums_of(group, chunk)[k];
          for_vectors(cols,
                      [&](int64_t i, auto n) { store_n(total + i, load_n(total + i, n) + load_n(part + i, n), n); });
        }
    return;
  }

  ctx.parallel(g.groups * g.rows, kRowsPerPiece, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) row(r, Sums<N>{});
    stream_fence(stream);
  });
  if (!wanted) return;
  const int64_t strips = (cols + kStripColumns - 1) / kStripColumns;
  ctx.parallel(g.groups * strips, 1, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; unit++) {
      const int64_t group = unit / strips, first = unit % strips * kStripColumns,
                    last = std::min(first + kStripColumns, cols);
      float total[N][kStripColumns], part[N][kStripColumns];
      Sums<N> sums{};
      for (int k = 0; k < N; k++) sums[k] = grads[k] ? part[k] : nullptr;
      for (int64_t chunk = 0; chunk < chunks; chunk++) {
        std::memset(part, 0, sizeof part);
        const int64_t end_row = std::min((chunk + 1) * kChainChunk, g.rows);
        for (int64_t r = chunk * kChainChunk; r < end_row; r++) columns(group * g.rows + r, first, last, sums);
        for (int k = 0; k < N; k++)
          for (int64_t c = 0; c < last - first; c++) total[k][c] = chunk ? total[k][c] + part[k][c] : part[k][c];
      }
      for (int k = 0; k < N; k++)
        if (grads[k])
          std::memcpy(row_of<float>(grads[k], group) + first, total[k], size_t(last - first) * sizeof(float));
    }
  });
}

}  // namespace dr::DR_ISA
