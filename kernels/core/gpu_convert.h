#pragma once
// Elements of one type made from those of another. Last include of a `.cu`, as gpu.h.

#include "kernels/core/gpu_elementwise.h"

namespace dr::DR_BACKEND {

// A thread has as many elements as fill 16 bytes of the wider type.
template <class From, class To>
struct Conversion {
  static constexpr int kSize = 16 / int(sizeof(From) > sizeof(To) ? sizeof(From) : sizeof(To));
  struct alignas(kSize * sizeof(From)) In { From v[kSize]; };
  struct alignas(kSize * sizeof(To)) Out { To v[kSize]; };
};

template <class From, class To, class F>
DR_KERNEL void convert_kernel(int64_t rows, int64_t cols, bool whole, F f, RowsOf<const From> x, RowsOf<To> y) {
  using C = Conversion<From, To>;
  const int64_t per_row = (cols + C::kSize - 1) / C::kSize, i = global_thread(), r = i / per_row;
  const int64_t c = i % per_row * C::kSize;
  if (r >= rows) return;
  const From* const from = x.row(r) + c;
  To* const to = y.row(r) + c;
  if (whole && c + C::kSize <= cols) {
    const auto in = load_vector<typename C::In>(from);
    typename C::Out out;
    for (int j = 0; j < C::kSize; j++) out.v[j] = f(in.v[j]);
    store_vector(to, out);
    return;
  }
  for (int j = 0; j < C::kSize && c + j < cols; j++) to[j] = f(from[j]);
}

// y = f(x) element by element; x is packed but for axis 0, y packed.
template <class From, class To, class F>
void convert(const Context& ctx, const View& x, const View& y, const F& f) {
  if (y.count() == 0) return;
  using C = Conversion<From, To>;
  const int64_t rows = x.packed() ? 1 : x.size(0), cols = y.count() / rows;
  const RowsOf<const From> from = rows_of<const From>(x);
  const RowsOf<To> to{static_cast<To*>(y.data), cols};
  const auto aligned = [&](const auto& v, size_t bytes) {
    return reinterpret_cast<uintptr_t>(v.data) % bytes == 0 && (rows == 1 || v.stride % C::kSize == 0);
  };
  const bool whole = aligned(from, sizeof(typename C::In)) && aligned(to, sizeof(typename C::Out));
  const int64_t threads = rows * ((cols + C::kSize - 1) / C::kSize);
  launch<convert_kernel<From, To, F>>(ctx, {.grid = {blocks_for(threads, kBlock)}, .threads = kBlock}, rows, cols,
                                      whole, f, from, to);
}

}  // namespace dr::DR_BACKEND
