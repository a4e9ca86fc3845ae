#pragma once
// Views of any strides on a device: several of one shape walked together, an element a thread; copies and zeros.
// Last include of a `.cu`, as gpu.h.

#include "kernels/core/gpu_elementwise.h"

namespace dr::DR_BACKEND {

// Where element i, counted in row-major order, of each of N views of one shape lies. Axes that are evenly spaced in all of
// them are one.
template <int N>
struct StridedIndex {
  int axes = 1;
  int64_t sizes[kMaxRank] = {1}, strides[kMaxRank][N] = {};  // innermost first

  struct Offsets {
    int64_t at[N];
    DR_DEVICE int64_t operator[](int v) const { return at[v]; }
  };
  DR_DEVICE Offsets operator()(int64_t i) const {
    Offsets o{};
    DR_UNROLL
    for (int a = 0; a < kMaxRank; a++) {
      if (a >= axes) break;
      const int64_t at = a + 1 < axes ? i % sizes[a] : i;
      i /= sizes[a];
      DR_UNROLL
      for (int v = 0; v < N; v++) o.at[v] += at * strides[a][v];
    }
    return o;
  }
};
template <int N>
StridedIndex<N> strided_index(const View (&views)[N]) {
  StridedIndex<N> x;
  x.axes = 0;
  for (int i = views[0].rank() - 1; i >= 0; i--) {
    const int64_t size = views[0].size(i);
    if (size == 1) continue;
    bool even = x.axes > 0;
    for (int v = 0; even && v < N; v++) even = views[v].stride(i) == x.strides[x.axes - 1][v] * x.sizes[x.axes - 1];
    if (even) {
      x.sizes[x.axes - 1] *= size;
      continue;
    }
    x.sizes[x.axes] = size;
    for (int v = 0; v < N; v++) x.strides[x.axes][v] = views[v].stride(i);
    x.axes++;
  }
  if (x.axes == 0) x.axes = 1;
  return x;
}

namespace strided_detail {
template <int N, class F>
struct AtOffsets {
  StridedIndex<N> index;
  F f;
  DR_DEVICE void operator()(int64_t i) const { f(index(i)); }
};
template <class T>
struct CopyElement {
  T* to;
  const T* from;
  DR_DEVICE void operator()(const typename StridedIndex<2>::Offsets& at) const { to[at[1]] = from[at[0]]; }
};
template <class T>
struct ClearElement {
  T* to;
  DR_DEVICE void operator()(const typename StridedIndex<1>::Offsets& at) const { to[at[0]] = T{}; }
};
}  // namespace strided_detail

// f(offsets) for every element of views of one shape, offsets[v] counting elements from view v's data.
template <int N, class F>
void for_strided(const Context& ctx, const View (&views)[N], const F& f) {
  for_each(ctx, views[0].count(), strided_detail::AtOffsets<N, F>{strided_index(views), f});
}

// Calls f with a null pointer to an unsigned integer as wide as an element of the type.
template <class F>
void with_element_bits(DType t, F&& f) {
  switch (size_of(t)) {
    case 1: return f(static_cast<uint8_t*>(nullptr));
    case 2: return f(static_cast<uint16_t*>(nullptr));
    case 4: return f(static_cast<uint32_t*>(nullptr));
    default: return f(static_cast<uint64_t*>(nullptr));
  }
}

// to = from, bit for bit, of one shape and dtype.
inline void copy_view(const Context& ctx, const View& from, const View& to) {
  with_element_bits(to.dtype, [&]<class T>(T*) {
    const View views[] = {from, to};
    for_strided(ctx, views, strided_detail::CopyElement<T>{static_cast<T*>(to.data), static_cast<const T*>(from.data)});
  });
}
// Every byte of v zero.
inline void clear_view(const Context& ctx, const View& v) {
  with_element_bits(v.dtype, [&]<class T>(T*) {
    const View views[] = {v};
    for_strided(ctx, views, strided_detail::ClearElement<T>{static_cast<T*>(v.data)});
  });
}

}  // namespace dr::DR_BACKEND
