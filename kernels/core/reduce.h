#pragma once
// Canonical sums. A row of up to 4096 elements: 32 lanes, lane l takes elements l, l+32, l+64, ... in ascending order,
// lanes are combined by a butterfly with offsets 16, 8, 4, 2, 1. Longer rows: blocks of 4096, then a binary tree over
// the blocks (neighbours pair up; an odd last one is carried). A column sum (over rows) is a dot product with ones:
// chunks of 512 rows, a chain inside a chunk, chunk sums added in ascending order.
//
// Butterfly lanes all end with the same bits (addition commutes), so halving the vector gives the same sum.

#include <vector>

#include "kernels/core/simd.h"

namespace dr {
inline constexpr int64_t kRowBlock = 4096;   // elements of a row summed by one set of 32 lanes
inline constexpr int64_t kChainChunk = 512;  // length of an fma chain
}  // namespace dr

namespace dr::DR_ISA {

// Lanes past n become +0. A lane sum that starts at +0 never becomes -0, so adding +0 changes nothing.
DR_INLINE f32v keep(f32v v, std::integral_constant<int, W>) { return v; }
DR_INLINE f32v keep(f32v v, int n) {
  i32v lane;
  for (int i = 0; i < W; i++) lane[i] = i;
  return bits<f32v>(bits<i32v>(v) & (lane < n));
}

// The butterfly over N lanes of one vector.
template <int N>
struct LanesOf {
  typedef float V __attribute__((vector_size(N * 4)));
};
template <int N>
DR_INLINE float butterfly(typename LanesOf<N>::V v) {
  if constexpr (N == 2) {
    return v[0] + v[1];
  } else {
    using Half = typename LanesOf<N / 2>::V;
    return butterfly<N / 2>(low_half<Half>(v) + high_half<Half>(v));
  }
}

// The 32 lanes of one block: slot j holds lanes j*W .. j*W+W-1.
struct Lanes {
  f32v acc[32 / W] = {};

  DR_INLINE float total() const {
    if constexpr (W == 16) return butterfly<W>(acc[0] + acc[1]);
    else if constexpr (W == 8) return butterfly<W>((acc[0] + acc[2]) + (acc[1] + acc[3]));
    else {
      const f32v a = acc[0] + acc[4], b = acc[1] + acc[5], c = acc[2] + acc[6], d = acc[3] + acc[7];
      return butterfly<W>((a + c) + (b + d));
    }
  }
};

// One block: term(acc, i, n) adds elements i..i+n-1 (n is W, or fewer at the end) into acc's first n lanes.
template <class F>
DR_INLINE void reduce_block(Lanes& lanes, int64_t begin, int64_t end, F&& term) {
  int64_t i = begin;
  for (; i + 32 <= end; i += 32) {
#pragma GCC unroll 8
    for (int j = 0; j < 32 / W; j++) term(lanes.acc[j], i + j * W, std::integral_constant<int, W>{});
  }
#pragma GCC unroll 8
  for (int j = 0; j < 32 / W; j++) {
    const int64_t n = end - (i + j * W);
    if (n >= W) term(lanes.acc[j], i + j * W, std::integral_constant<int, W>{});
    else if (n > 0) term(lanes.acc[j], i + j * W, int(n));
  }
}

// Combines block sums in place by the binary tree; returns 0 for no blocks.
inline float tree_sum(float* sums, int64_t n) {
  if (n == 0) return 0.f;
  for (; n > 1; n = (n + 1) / 2)
    for (int64_t i = 0; i < (n + 1) / 2; i++) sums[i] = 2 * i + 1 < n ? sums[2 * i] + sums[2 * i + 1] : sums[2 * i];
  return sums[0];
}

// Sum over a row of `count` elements of what `term` adds; 0 for an empty row.
//   row_reduce(C, [&](f32v& acc, int64_t i, auto n) { acc += load_n(x + i, n); })
// A term whose value is not +0 where its loads gave zero must pass it through keep(v, n).
template <class F>
DR_INLINE float row_reduce(int64_t count, F&& term) {
  if (count <= kRowBlock) {
    Lanes lanes;
    reduce_block(lanes, 0, count, term);
    return lanes.total();
  }
  const int64_t blocks = (count + kRowBlock - 1) / kRowBlock;
  std::vector<float> sums(static_cast<size_t>(blocks));
  for (int64_t b = 0; b < blocks; b++) {
    Lanes lanes;
    reduce_block(lanes, b * kRowBlock, b * kRowBlock + kRowBlock < count ? b * kRowBlock + kRowBlock : count, term);
    sums[size_t(b)] = lanes.total();
  }
  return tree_sum(sums.data(), blocks);
}

template <class T>
DR_INLINE float row_sum(const T* x, int64_t count) {
  return row_reduce(count, [&](f32v& acc, int64_t i, auto n) { acc += load_n(x + i, n); });
}

}  // namespace dr::DR_ISA
