#pragma once
// Kernels of one thread per element, or per few: elementwise<T>(ctx, y, f, x...) as core/elementwise.h has it for the CPU,
// and for_each(ctx, n, f), which calls f(i) for every i < n. f is a struct with a DR_DEVICE call operator; it is copied to
// the device, so it holds numbers and device pointers only. Last include of a `.cu`, as gpu.h.

#include "kernels/core/gpu.h"

namespace dr::DR_BACKEND {

inline constexpr int kBlock = 256;  // threads of a block where nothing else decides

// f(i) for i < n, one thread each.
template <class F>
DR_KERNEL void for_each_kernel(int64_t n, F f) {
  if (const int64_t i = global_thread(); i < n) f(i);
}
template <class F>
void for_each(const Context& ctx, int64_t n, const F& f) {
  if (n > 0) launch<for_each_kernel<F>>(ctx, {.grid = {blocks_for(n, kBlock)}, .threads = kBlock}, n, f);
}

// Rows of a tensor that is packed but for the stride of axis 0.
template <class T>
struct RowsOf {
  T* data;
  int64_t stride;
  DR_DEVICE T* row(int64_t r) const { return data + r * stride; }
};
template <class T>
RowsOf<T> rows_of(const View& v) {
  return {static_cast<T*>(v.data), v.stride(0)};
}

// 16 bytes of T.
template <class T>
struct alignas(16) Pack {
  static constexpr int kSize = 16 / int(sizeof(T));
  T v[kSize];
};

// y[r,c] = f(x[r,c]...). `whole`: rows are 16-byte aligned, so all but a row's last few elements go in packs.
template <class T, class F, class... X>
DR_KERNEL void elementwise_kernel(int64_t rows, int64_t cols, bool whole, F f, RowsOf<T> y, RowsOf<const X>... x) {
  constexpr int kPack = Pack<T>::kSize;
  const int64_t per_row = (cols + kPack - 1) / kPack, i = global_thread(), r = i / per_row, c = i % per_row * kPack;
  if (r >= rows) return;
  if (whole && c + kPack <= cols) {
    Pack<T> out;
    [&](const auto&... in) {
      for (int j = 0; j < kPack; j++) store1(out.v + j, f(load1(in.v + j)...));
    }(load_vector<Pack<X>>(x.row(r) + c)...);
    store_vector(y.row(r) + c, out);
    return;
  }
  for (int j = 0; j < kPack && c + j < cols; j++) store1(y.row(r) + c + j, f(load1(x.row(r) + c + j)...));
}

template <class T, class F, class... In>
void elementwise(const Context& ctx, const View& out, const F& f, const In&... in) {
  if (out.count() == 0) return;
  const bool flat = (out.packed() && ... && in.packed());
  const int64_t rows = flat ? 1 : out.size(0), cols = out.count() / rows;
  auto aligned = [&](const View& v) {
    return reinterpret_cast<uintptr_t>(v.data) % 16 == 0 && (flat || v.stride(0) * int64_t(sizeof(T)) % 16 == 0);
  };
  const bool whole = (aligned(out) && ... && aligned(in));
  const int64_t threads = rows * ((cols + Pack<T>::kSize - 1) / Pack<T>::kSize);
  launch<elementwise_kernel<T, F, std::conditional_t<true, T, In>...>>(
      ctx, {.grid = {blocks_for(threads, kBlock)}, .threads = kBlock}, rows, cols, whole, f, rows_of<T>(out),
      rows_of<const T>(in)...);
}

}  // namespace dr::DR_BACKEND
