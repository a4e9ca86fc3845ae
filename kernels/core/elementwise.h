#pragma once
// y = f(x, ...) element by element, over tensors of one shape and type that are packed but for the stride of axis 0.
// Last include of a `_cpu.cpp`, as simd.h.

#include "kernels/core/stream.h"

namespace dr::DR_ISA {

// A tensor as rows: one row if it is packed, else one per index of axis 0.
inline View as_rows(const View& v, bool flat) {
  View rows(v.data, v.dtype, flat ? Sizes{1, v.count()} : Sizes{v.size(0), v.size(0) ? v.count() / v.size(0) : 0});
  if (!flat) rows.strides[0] = v.stride(0);
  return rows;
}

template <class T, class F, class... In>
void elementwise(Context& ctx, const View& out, F&& f, const In&... in) {
  constexpr int64_t kPiece = 4096;  // elements of parallel work: a few microseconds, and whole cache lines
  const bool flat = (out.packed() && ... && in.packed());
  const View out_rows = as_rows(out, flat);
  const bool stream = streams(out_rows);
  for_pieces(ctx, out_rows.size(0), out_rows.size(1), kPiece, stream, [&](int64_t r, int64_t first, int64_t count) {
    auto at = [&](const View& v) { return static_cast<T*>(v.data) + (flat ? 0 : r * v.stride(0)) + first; };
    T* const y = at(out);
    [&](auto... x) {
      for_vectors(count, [&](int64_t i, auto n) { put(y + i, f(load_n(x + i, n)...), n, stream); });
    }(static_cast<const T*>(at(in))...);
  });
}

}  // namespace dr::DR_ISA
