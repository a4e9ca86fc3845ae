#pragma once
// map_rows: y[r,c] = f(r, c, x[r,c]...) for matrices of different types, where elementwise (gpu_elementwise.h) takes
// tensors of one. Four neighbours a thread, read and written at once where rows are aligned. Last include of a `.cu`,
// as gpu.h.

#include "kernels/core/gpu_elementwise.h"

namespace dr::DR_BACKEND {

namespace map_detail {
template <class T>
struct alignas(4 * sizeof(T)) Quad {
  T v[4];
};

template <class F, class TY, class... TX>
DR_KERNEL void map_rows_kernel(int64_t rows, int64_t cols, bool whole, F f, RowsOf<TY> y, RowsOf<TX>... x) {
  const int64_t per_row = (cols + 3) / 4, i = global_thread(), r = i / per_row, c = i % per_row * 4;
  if (r >= rows) return;
  if (whole && c + 4 <= cols) {
    Quad<TY> out;
    [&](const auto&... in) {
      DR_UNROLL
      for (int j = 0; j < 4; j++) store1(out.v + j, f(r, c + j, load1(in.v + j)...));
    }(load_vector<Quad<std::remove_const_t<TX>>>(x.row(r) + c)...);
    store_vector(y.row(r) + c, out);
    return;
  }
  for (int j = 0; j < 4 && c + j < cols; j++) store1(y.row(r) + c + j, f(r, c + j, load1(x.row(r) + c + j)...));
}
}  // namespace map_detail

template <class F, class TY, class... TX>
void map_rows(const Context& ctx, int64_t rows, int64_t cols, const RowsOf<TY>& y, const F& f, const RowsOf<TX>&... x) {
  if (rows <= 0 || cols <= 0) return;
  const auto aligned = [](const auto& m) {
    const auto bytes = 4 * int64_t(sizeof *m.data);
    return reinterpret_cast<uintptr_t>(m.data) % size_t(bytes) == 0 && m.stride * int64_t(sizeof *m.data) % bytes == 0;
  };
  const bool whole = (aligned(y) && ... && aligned(x));
  launch<map_detail::map_rows_kernel<F, TY, TX...>>(
      ctx, {.grid = {blocks_for(rows * ((cols + 3) / 4), kBlock)}, .threads = kBlock}, rows, cols, whole, f, y, x...);
}

}  // namespace dr::DR_BACKEND
