#pragma once
// Rows on a device in runs of four elements, which lie side by side and are read at once: what walks over tensors of
// several types, or in place, where elementwise<T> will not do. Last include of a `.cu`, as gpu.h.

#include "kernels/core/gpu_elementwise.h"

namespace dr::DR_BACKEND {

inline constexpr int kRun = 4;  // elements
template <int N>
using Count = std::integral_constant<int, N>;

template <int N>
struct Run {
  float v[N];
  DR_DEVICE float& operator[](int i) { return v[i]; }
  DR_DEVICE float operator[](int i) const { return v[i]; }
};

namespace runs_detail {
template <class T, int N>
struct alignas(N * sizeof(T)) Packed {
  T v[N];
};

// f(r, c, Count<kRun>) where a whole run begins at column c, else f(r, c, Count<1>) for each element.
template <class F>
DR_KERNEL void for_runs_kernel(int64_t rows, int64_t cols, bool whole, F f) {
  const int each = whole ? kRun : 1;
  const int64_t per_row = (cols + each - 1) / each, i = global_thread(), r = i / per_row, c = i % per_row * each;
  if (r >= rows) return;
  if (whole && c + kRun <= cols) return f(r, c, Count<kRun>{});
  for (int j = 0; j < each && c + j < cols; j++) f(r, c + j, Count<1>{});
}
}  // namespace runs_detail

// N elements from p on, which is aligned to their size.
template <int N, class T>
DR_DEVICE Run<N> load_run(const T* p) {
  const auto packed = load_vector<runs_detail::Packed<T, N>>(p);
  Run<N> run;
  DR_UNROLL
  for (int i = 0; i < N; i++) run[i] = load1(packed.v + i);
  return run;
}
template <int N, class T>
DR_DEVICE void store_run(T* p, const Run<N>& run) {
  runs_detail::Packed<T, N> packed;
  DR_UNROLL
  for (int i = 0; i < N; i++) store1(packed.v + i, run[i]);
  store_vector(p, packed);
}

// Whether runs that begin at multiples of kRun along the last axis are aligned.
inline bool runs_aligned(const View& v) {
  if (reinterpret_cast<uintptr_t>(v.data) % (kRun * size_of(v.dtype))) return false;
  for (int i = 0; i + 1 < v.rank(); i++)
    if (v.size(i) > 1 && v.stride(i) % kRun) return false;
  return true;
}
// The same of a packed tensor taken as flat.
inline bool flat_runs_aligned(const View& v) { return runs_aligned(View(v.data, v.dtype, {v.count()})); }

// f(r, c, Count<N>) for runs of N elements, N being kRun where `whole` and the row has so many left, else 1.
template <class F>
void for_runs(const Context& ctx, int64_t rows, int64_t cols, bool whole, const F& f) {
  if (rows == 0 || cols == 0) return;
  const int64_t threads = rows * (whole ? (cols + kRun - 1) / kRun : cols);
  launch<runs_detail::for_runs_kernel<F>>(ctx, {.grid = {blocks_for(threads, kBlock)}, .threads = kBlock}, rows, cols,
                                          whole, f);
}

}  // namespace dr::DR_BACKEND
