#pragma once
// Channels in strips of a few vectors, whose sums stay in registers while the pixels go by. Last include of a
// `_cpu.cpp`, as simd.h.

#include "kernels/core/simd.h"

namespace dr::DR_ISA {

// f(c, V, n) over [0, cols) in strips of V vectors (a constant), of which the last holds n columns: the constant W but
// for the last strip.
template <class F>
DR_INLINE void for_strips(int64_t cols, F&& f) {
  constexpr std::integral_constant<int, W> whole;
  int64_t c = 0;
  for (; c + 4 * W <= cols; c += 4 * W) f(c, std::integral_constant<int, 4>{}, whole);
  if (c + 2 * W <= cols) f(c, std::integral_constant<int, 2>{}, whole), c += 2 * W;
  for_vectors(cols - c, [&](int64_t i, auto n) { f(c + i, std::integral_constant<int, 1>{}, n); });
}

}  // namespace dr::DR_ISA
