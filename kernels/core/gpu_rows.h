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

// The binary tree over block sums, fed in order by a group, all of whose lanes give the same sum: neighbours pair up at
// each level, an odd last one is carried. Lane l keeps what waits at level l.
struct TreeSum {
  float waits = 0;
  uint32_t count = 0;

  DR_DEVICE void add(float v) {
    int level = 0;
    for (uint32_t n = count++; n & 1; n >>= 1) v = shuffle(waits, level++) + v;
    if (lane_index() == level) waits = v;
  }
  DR_DEVICE float total() const {  // 0 for none
    float sum = 0;
    bool begun = false;
    for (int level = 0; count >> level; level++) {
      if (!(count >> level & 1)) continue;
      const float v = shuffle(waits, level);
      sum = begun ? v + sum : v;
      begun = true;
    }
    return sum;
  }
};

// The sum over elements [begin, end), 4096 at most and from a multiple of 4096 on, of what term(acc, i) adds to a
// lane's sum; every lane of the group calls this, and gets it.
template <class F>
DR_DEVICE float block_reduce(int64_t begin, int64_t end, F&& term) {
  constexpr int kAtOnce = 4;  // terms whose loads are under way together
  float acc = 0;
  int64_t i = begin + lane_index();
  for (; i + (kAtOnce - 1) * kGroup < end; i += kAtOnce * kGroup) {
    DR_UNROLL
    for (int j = 0; j < kAtOnce; j++) term(acc, i + j * kGroup);
  }
  for (; i < end; i += kGroup) term(acc, i);
  return group_sum(acc);
}

// Two such sums at once: term(acc_a, acc_b, i).
struct TwoSums {
  float a, b;
};
template <class F>
DR_DEVICE TwoSums block_reduce2(int64_t begin, int64_t end, F&& term) {
  float b = 0;
  const float a = block_reduce(begin, end, [&](float& acc, int64_t i) { term(acc, b, i); });
  return {a, group_sum(b)};
}

// The same over a row of `count` elements.
template <class F>
DR_DEVICE float row_reduce(int64_t count, F&& term) {
  TreeSum tree;
  for (int64_t begin = 0; begin < count; begin += kRowBlock)
    tree.add(block_reduce(begin, begin + kRowBlock < count ? begin + kRowBlock : count, term));
  return tree.total();
}
template <class F>
DR_DEVICE TwoSums row_reduce2(int64_t count, F&& term) {
  TreeSum a, b;
  for (int64_t begin = 0; begin < count; begin += kRowBlock) {
    const TwoSums sums = block_reduce2(begin, begin + kRowBlock < count ? begin + kRowBlock : count, term);
    a.add(sums.a), b.add(sums.b);
  }
  return {a.total(), b.total()};
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

// ---- sums of rows whose blocks of 4096 are shared among groups ----

namespace row_sums_detail {

inline constexpr int kTurn = 8;  // runs of 32 block sums that a group adds in its turn
struct TurnSums {
  float sum[kGroup];
};

// The tree over the values of the first n lanes, in every lane.
DR_DEVICE float tree_of_lanes(float v, int64_t n) {
  for (int offset = 1; offset < kGroup; offset *= 2) {
    const float other = shuffle_xor(v, offset);
    if ((lane_index() ^ offset) < n) v = v + other;
  }
  return shuffle(v, 0);
}

// The tree over n block sums, by a block of up to 32 groups, a power of two, all of whose threads get it. What a group
// takes in its turn is a whole subtree.
DR_DEVICE float tree_of_blocks(const float* sums, int64_t n) {
  auto& turn = shared_memory<TurnSums>();
  constexpr int64_t kEach = kTurn * kGroup;
  const int64_t step = kEach * block_groups();
  TreeSum all;
  for (int64_t begin = 0; begin < n; begin += step) {
    const int64_t left = n - begin - group_index() * kEach;  // for this group and those after it
    float v[kTurn];
    DR_UNROLL
    for (int j = 0; j < kTurn; j++) {
      const int at = j * kGroup + lane_index();
      v[j] = at < left ? sums[n - left + at] : 0.f;
    }
    TreeSum own;
    DR_UNROLL
    for (int j = 0; j < kTurn; j++)
      if (j * kGroup < left) own.add(tree_of_lanes(v[j], left - j * kGroup));
    const float sum = own.total();
    if (lane_index() == 0) turn.sum[group_index()] = sum;
    block_sync();  // every group's sum is there
    const int64_t groups = (n - begin + kEach - 1) / kEach;
    all.add(tree_of_lanes(lane_index() < block_groups() ? turn.sum[lane_index()] : 0.f,
                          groups < block_groups() ? groups : block_groups()));
    block_sync();  // all have read them
  }
  return all.total();
}

template <class Finish>
DR_KERNEL void finish_long_rows(int64_t per_row, const float* sums, Finish finish) {
  const int64_t r = block_index().x;
  const float sum = tree_of_blocks(sums + r * per_row, per_row);
  if (thread_index() == 0) finish(r, sum);
}

template <class Term, class Finish>
struct ShortRow {
  int64_t cols;
  Term term;
  Finish finish;
  DR_DEVICE void operator()(int64_t r) const {
    const float sum = block_reduce(0, cols, term(r));
    if (lane_index() == 0) finish(r, sum);
  }
};
template <class Term>
struct BlockOfRow {
  int64_t cols, per_row;
  Term term;
  float* sums;
  DR_DEVICE void operator()(int64_t at) const {
    const int64_t r = at / per_row, begin = at % per_row * kRowBlock;
    const float sum = block_reduce(begin, begin + kRowBlock < cols ? begin + kRowBlock : cols, term(r));
    if (lane_index() == 0) sums[at] = sum;
  }
};

}  // namespace row_sums_detail

// finish(r, the tree over sums[r * per_row ...]) by one thread for each row.
template <class Finish>
void for_block_sums(const Context& ctx, int64_t rows, int64_t per_row, const float* sums, const Finish& finish) {
  if (rows == 0) return;
  unsigned groups = 1;
  while (groups < kGroup && groups * row_sums_detail::kTurn * kGroup < per_row) groups *= 2;
  launch<row_sums_detail::finish_long_rows<Finish>>(
      ctx, {.grid = {blocks_for(rows, 1)}, .threads = groups * kGroup, .shared = sizeof(row_sums_detail::TurnSums)},
      per_row, sums, finish);
}

// term(r) gives what a row adds, a function (acc, i) as row_reduce takes it; finish(r, sum) takes the row's sum, by one
// thread. Scratch where rows are longer than a block: b.scratch_bytes(), from `scratch` on.
template <class Term, class Finish>
void for_row_sums(const Context& ctx, const RowBlocks& b, const Term& term, const Finish& finish, size_t scratch = 0) {
  if (b.cols <= kRowBlock) return for_rows(ctx, b.rows, row_sums_detail::ShortRow<Term, Finish>{b.cols, term, finish});
  float* const sums = ctx.scratch_as<float>(b.scratch_bytes() / sizeof(float), scratch);
  for_rows(ctx, b.rows * b.per_row(), row_sums_detail::BlockOfRow<Term>{b.cols, b.per_row(), term, sums});
  for_block_sums(ctx, b.rows, b.per_row(), sums, finish);
}

// ---- column sums of groups of rows: chunks of 512 rows, a chain inside a chunk, chunk sums added in ascending order ----

namespace column_detail {

// One thread per column of a chunk. Its sums go to where `to(group, chunk, k, c)` says, null for nowhere; or, of an
// only chunk, to finish(group, c, sums).
template <int N, class F, class To, class Finish>
struct Chunk {
  int64_t rows, cols, chunks;
  F f;
  To to;
  Finish finish;

  DR_DEVICE void operator()(int64_t item) const {
    const int64_t c = item % cols, chunk = item / cols % chunks, group = item / cols / chunks;
    const int64_t begin = chunk * kChainChunk, end = begin + kChainChunk < rows ? begin + kChainChunk : rows;
    float sums[N] = {};
    if constexpr (requires { f(group, c); }) {
      chain(begin, end, f(group, c), sums);
    } else {
      chain(group * rows + begin, group * rows + end, [&](int64_t r, float (&s)[N]) { f(r, c, s); }, sums);
    }
    if (chunks == 1) return finish(group, c, sums);
    DR_UNROLL
    for (int k = 0; k < N; k++)
      if (float* const sum = to(group, chunk, k, c)) *sum = sums[k];
  }
  template <class Column>
  DR_DEVICE static void chain(int64_t r, int64_t end, const Column& column, float (&sums)[N]) {
    constexpr int kAtOnce = 8;  // rows whose loads are under way together
    for (; r + kAtOnce <= end; r += kAtOnce) {
      DR_UNROLL
      for (int j = 0; j < kAtOnce; j++) column(r + j, sums);
    }
    for (; r < end; r++) column(r, sums);
  }
};
template <int N, class To, class Finish>
struct Total {
  int64_t cols, chunks;
  To to;
  Finish finish;
  DR_DEVICE void operator()(int64_t item) const {
    const int64_t c = item % cols, group = item / cols;
    float sums[N] = {};
    DR_UNROLL
    for (int k = 0; k < N; k++) {
      if (!to(group, 0, k, c)) continue;
      sums[k] = *to(group, 0, k, c);
      for (int64_t chunk = 1; chunk < chunks; chunk++) sums[k] = sums[k] + *to(group, chunk, k, c);
    }
    finish(group, c, sums);
  }
};
template <int N, class F, class To, class Finish>
void run(const Context& ctx, const RowGroups& g, const F& f, const To& to, const Finish& finish) {
  const int64_t chunks = g.chunks();
  for_each(ctx, g.groups * chunks * g.cols, Chunk<N, F, To, Finish>{g.rows, g.cols, chunks, f, to, finish});
  if (chunks > 1) for_each(ctx, g.groups * g.cols, Total<N, To, Finish>{g.cols, chunks, to, finish});
}

// All chunks' sums in scratch.
template <int N>
struct InScratch {
  float* base;
  int64_t cols, chunks;
  DR_DEVICE float* operator()(int64_t group, int64_t chunk, int k, int64_t c) const {
    return base + ((group * chunks + chunk) * N + k) * cols + c;
  }
};

template <int N>
struct Grads {
  float* data[N];  // (groups, C); null: not wanted
  int64_t stride[N];
  float* later;  // sums of chunks after the first, which lie in the result
  int64_t cols, chunks;
  DR_DEVICE float* operator()(int64_t group, int64_t chunk, int k, int64_t c) const {
    if (!data[k]) return nullptr;
    return chunk == 0 ? data[k] + group * stride[k] + c
                      : later + ((group * (chunks - 1) + chunk - 1) * N + k) * cols + c;
  }
};
template <int N>
struct StoreGrads {
  Grads<N> to;
  DR_DEVICE void operator()(int64_t group, int64_t c, const float (&sums)[N]) const {
    DR_UNROLL
    for (int k = 0; k < N; k++)
      if (float* const sum = to(group, 0, k, c)) *sum = sums[k];
  }
};

}  // namespace column_detail

// f(r, c, sums) adds column c of row r, counted over all groups, to sums[N]; or f(group, c) gives a column, whose call
// operator (r, sums) takes the rows of the group in turn. finish(group, c, sums) takes the sums, by one thread.
// Scratch where there is more than one chunk: column_total_bytes(g, N), from `scratch` on.
inline size_t column_total_bytes(const RowGroups& g, int sums) {
  return g.chunks() > 1 ? size_t(g.groups * g.chunks() * sums * g.cols) * sizeof(float) : 0;
}
template <int N, class F, class Finish>
void column_totals(const Context& ctx, const RowGroups& g, const F& f, const Finish& finish, size_t scratch = 0) {
  const column_detail::InScratch<N> to{ctx.scratch_as<float>(column_total_bytes(g, N) / sizeof(float), scratch), g.cols,
                                       g.chunks()};
  column_detail::run<N>(ctx, g, f, to, finish);
}

// The same into grads: (groups, C) f32, any row stride, absent where not wanted. Scratch: RowGroups::scratch_bytes(N),
// from `scratch` on.
template <int N, class F>
void column_sums(const Context& ctx, const RowGroups& g, const View (&grads)[N], const F& f, size_t scratch = 0) {
  bool wanted = false;
  for (const View& v : grads) wanted |= v.present();
  if (!wanted || g.groups == 0 || g.cols == 0) return;
  column_detail::Grads<N> to{
      {}, {}, ctx.scratch_as<float>(g.scratch_bytes(N) / sizeof(float), scratch), g.cols, g.chunks()};
  for (int k = 0; k < N; k++)
    if (grads[k]) to.data[k] = grads[k].template as<float>(), to.stride[k] = grads[k].stride(0);
  column_detail::run<N>(ctx, g, f, to, column_detail::StoreGrads<N>{to});
}

}  // namespace dr::DR_BACKEND
