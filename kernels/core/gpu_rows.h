#pragma once
// Canonical sums on a device (core/reduce.h says what they are): a group of 32 lanes sums a row, and what is summed over
// rows is a chain per column. Last include of a `.cu`, as gpu.h.

#include "kernels/core/gpu_elementwise.h"
#include "kernels/core/row_blocks.h"
#include "kernels/core/row_groups.h"

namespace dr::DR_BACKEND {

inline constexpr int64_t kRowBlock = RowBlocks::kBlock;
inline constexpr int64_t kChainChunk = RowGroups::kChunk;

// The butterfly over the lanes of a group; all of them get the sum.
DR_DEVICE float group_sum(float v) {
  for (int offset = 16; offset > 0; offset /= 2) v = v + shuffle_xor(v, offset);
  return v;
}

// The binary tree over block sums, fed in order: neighbours pair up at each level, an odd last one is carried.
struct TreeSum {
  float level[32];
  uint32_t count = 0;

  DR_DEVICE void add(float v) {
    int l = 0;
    for (uint32_t n = count++; n & 1; n >>= 1) v = level[l++] + v;
    level[l] = v;
  }
  DR_DEVICE float total() const {  // 0 for none
    float sum = 0;
    bool any = false;
    for (int l = 0; l < 32; l++)
      if (count >> l & 1) sum = any ? level[l] + sum : level[l], any = true;
    return sum;
  }
};

// The sum over a row of `count` elements of what term(acc, i) adds to a lane's sum; every lane of the group calls this, and
// gets it.
template <class F>
DR_DEVICE float row_reduce(int64_t count, F&& term) {
  const int lane = lane_index();
  if (count <= kRowBlock) {
    float acc = 0;
    for (int64_t i = lane; i < count; i += kGroup) term(acc, i);
    return group_sum(acc);
  }
  TreeSum tree;
  for (int64_t begin = 0; begin < count; begin += kRowBlock) {
    const int64_t end = begin + kRowBlock < count ? begin + kRowBlock : count;
    float acc = 0;
    for (int64_t i = begin + lane; i < end; i += kGroup) term(acc, i);
    tree.add(group_sum(acc));
  }
  return tree.total();
}

inline constexpr int kRowsPerBlock = 8;  // groups of a block that has one row a group

// f(r) for r < rows, by a whole group each.
template <class F>
DR_KERNEL void for_rows_kernel(int64_t rows, F f) {
  if (const int64_t r = global_group(); r < rows) f(r);
}
template <class F>
void for_rows(const Context& ctx, int64_t rows, const F& f) {
  if (rows > 0)
    launch<for_rows_kernel<F>>(ctx, {.grid = {blocks_for(rows, kRowsPerBlock)}, .threads = kRowsPerBlock * kGroup}, rows, f);
}

// ---- column sums of groups of rows: chunks of 512 rows, a chain inside a chunk, chunk sums added in ascending order ----

template <int N>
struct ColumnGrads {
  float* data[N];  // (groups, C); null: not wanted
  int64_t stride[N];
};
template <int N>
ColumnGrads<N> column_grads(const View (&grads)[N]) {
  ColumnGrads<N> g{};
  for (int k = 0; k < N; k++)
    if (grads[k]) g.data[k] = grads[k].template as<float>(), g.stride[k] = grads[k].stride(0);
  return g;
}

// One thread per column of a chunk: f(r, c, sums) adds row r's column c to sums[N]. Chunk 0 lies in the result, the others
// in `partial`.
template <int N, class F>
DR_KERNEL void column_chunks(int64_t rows, int64_t cols, int64_t chunks, F f, ColumnGrads<N> grads, float* partial) {
  const int64_t c = global_thread(), group = block_index().y, chunk = block_index().z;
  if (c >= cols) return;
  float sums[N] = {};
  const int64_t end = (chunk + 1) * kChainChunk < rows ? (chunk + 1) * kChainChunk : rows;
  for (int64_t r = chunk * kChainChunk; r < end; r++) f(group * rows + r, c, sums);
  for (int k = 0; k < N; k++) {
    if (!grads.data[k]) continue;
    if (chunk == 0) grads.data[k][group * grads.stride[k] + c] = sums[k];
    else partial[((group * (chunks - 1) + chunk - 1) * N + k) * cols + c] = sums[k];
  }
}
template <int N>
DR_KERNEL void add_column_chunks(int64_t cols, int64_t chunks, ColumnGrads<N> grads, const float* partial) {
  const int64_t c = global_thread(), group = block_index().y;
  if (c >= cols) return;
  for (int k = 0; k < N; k++) {
    if (!grads.data[k]) continue;
    float* const total = grads.data[k] + group * grads.stride[k] + c;
    float sum = *total;
    for (int64_t chunk = 1; chunk < chunks; chunk++) sum = sum + partial[((group * (chunks - 1) + chunk - 1) * N + k) * cols + c];
    *total = sum;
  }
}

// grads: (groups, C) f32, any row stride, absent where not wanted. Scratch: RowGroups::scratch_bytes(N), from `scratch` on.
template <int N, class F>
void column_sums(const Context& ctx, const RowGroups& g, const View (&grads)[N], const F& f, size_t scratch = 0) {
  bool wanted = false;
  for (const View& v : grads) wanted |= v.present();
  if (!wanted || g.groups == 0 || g.cols == 0) return;
  float* const partial = ctx.scratch_as<float>(g.scratch_bytes(N) / sizeof(float), scratch);
  const ColumnGrads<N> list = column_grads(grads);
  const int64_t chunks = g.chunks();
  constexpr int64_t kMost = 65535;  // of a grid's second axis
  CHECK(g.groups <= kMost && chunks <= kMost, "column sums of {} groups in {} chunks; accepted: up to {} each", g.groups,
        chunks, kMost);
  const Grid grid{blocks_for(g.cols, kBlock), unsigned(g.groups), unsigned(chunks)};
  launch<column_chunks<N, F>>(ctx, {.grid = grid, .threads = kBlock}, g.rows, g.cols, chunks, f, list, partial);
  if (chunks > 1)
    launch<add_column_chunks<N>>(ctx, {.grid = {grid.x, grid.y}, .threads = kBlock}, g.cols, chunks, list,
                                 static_cast<const float*>(partial));
}

}  // namespace dr::DR_BACKEND
