#pragma once
// Rows of a matrix in runs of four elements, a thread each, for ops whose operands differ in type or that have several
// results: elementwise() of gpu_elementwise.h does the others. Last include of a `.cu`, as gpu.h.

#include "kernels/core/gpu_elementwise.h"

namespace dr::DR_BACKEND {

inline constexpr int kRun = 4;

struct Run {
  float v[kRun];
  DR_DEVICE float& operator[](int i) { return v[i]; }
  DR_DEVICE float operator[](int i) const { return v[i]; }
};
template <class T>
struct alignas(kRun * sizeof(T)) RunInMemory {
  T v[kRun];
  static DR_DEVICE bool at(const T* p, int n) {
    return n == kRun && reinterpret_cast<uintptr_t>(p) % sizeof(RunInMemory) == 0;
  }
};

// n <= kRun elements from p on, at once if they are all there and aligned; zeros past n.
template <class T>
DR_DEVICE Run load_run(const T* p, int n) {
  Run run;
  if (RunInMemory<T>::at(p, n)) {
    const auto all = load_vector<RunInMemory<T>>(p);
    DR_UNROLL
    for (int j = 0; j < kRun; j++) run.v[j] = load1(all.v + j);
  } else {
    DR_UNROLL
    for (int j = 0; j < kRun; j++) run.v[j] = j < n ? load1(p + j) : 0.f;
  }
  return run;
}
template <class T>
DR_DEVICE void store_run(T* p, const Run& run, int n) {
  if (RunInMemory<T>::at(p, n)) {
    RunInMemory<T> all;
    DR_UNROLL
    for (int j = 0; j < kRun; j++) store1(all.v + j, run.v[j]);
    store_vector(p, all);
  } else {
    DR_UNROLL
    for (int j = 0; j < kRun; j++)
      if (j < n) store1(p + j, run.v[j]);
  }
}
// A run of f(j), j < kRun.
template <class F>
DR_DEVICE Run make_run(F&& f) {
  Run run;
  DR_UNROLL
  for (int j = 0; j < kRun; j++) run.v[j] = f(j);
  return run;
}

// f(r, c, n) for the runs of a matrix: n <= kRun elements of row r from column c on.
template <class F>
DR_KERNEL void for_runs_kernel(int64_t rows, int64_t cols, F f) {
  const int64_t per_row = (cols + kRun - 1) / kRun, i = global_thread(), r = i / per_row, c = i % per_row * kRun;
  if (r < rows) f(r, c, cols - c < kRun ? int(cols - c) : kRun);
}
template <class F>
void for_runs(const Context& ctx, int64_t rows, int64_t cols, const F& f) {
  const int64_t runs = rows * ((cols + kRun - 1) / kRun);
  if (runs > 0) launch<for_runs_kernel<F>>(ctx, {.grid = {blocks_for(runs, kBlock)}, .threads = kBlock}, rows, cols, f);
}

// The same over views of one shape, each packed but for axis 0: one row where all are packed.
template <class F, class... V>
void for_runs_of(const Context& ctx, const F& f, const View& v, const V&... others) {
  if (v.count() == 0) return;
  const int64_t rows = (v.packed() && ... && others.packed()) ? 1 : v.size(0);
  for_runs(ctx, rows, v.count() / rows, f);
}

// f(A*, B*), null pointers of the two element types. Host code.
template <class F>
void with_float_types(DType a, DType b, F&& f) {
  with_float_type(a, [&]<class A>(A* first) { with_float_type(b, [&]<class B>(B* second) { f(first, second); }); });
}

}  // namespace dr::DR_BACKEND
