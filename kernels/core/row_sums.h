#pragma once
// One canonical sum per row, the blocks of long rows shared among threads: what losses and other reductions over the
// last axes need. Last include of a `_cpu.cpp`, as simd.h.

#include <algorithm>

#include "kernels/core/row_blocks.h"

#include "kernels/core/reduce.h"

namespace dr::DR_ISA {

static_assert(RowBlocks::kBlock == kRowBlock);

// f(r, begin, end, block) in parallel for every block of every row: elements [begin, end); blocks are counted over all
// rows.
template <class F>
void for_row_blocks(Context& ctx, const RowBlocks& b, F&& f) {
  if (b.cols == 0) return;
  const int64_t per_row = b.per_row();
  ctx.parallel(b.rows * per_row, std::max<int64_t>(1, 2 * kRowBlock / b.cols), [&](int64_t first, int64_t last) {
    for (int64_t p = first; p < last; p++) {
      const int64_t begin = p % per_row * kRowBlock;
      f(p / per_row, begin, std::min(begin + kRowBlock, b.cols), p);
    }
  });
}

// term(r) gives what a row adds, a function (acc, i, n) as row_reduce takes it; finish(r, sum) takes the row's sum.
template <class Term, class Finish>
void for_row_sums(Context& ctx, const RowBlocks& b, Term&& term, Finish&& finish) {
  float* const sums = ctx.scratch_as<float>(b.scratch_bytes() / sizeof(float));
  for_row_blocks(ctx, b, [&](int64_t r, int64_t begin, int64_t end, int64_t block) {
    Lanes lanes;
    reduce_block(lanes, begin, end, term(r));
    sums[block] = lanes.total();
  });
  for (int64_t r = 0; r < b.rows; r++) finish(r, tree_sum(sums + r * b.per_row(), b.per_row()));
}

}  // namespace dr::DR_ISA
