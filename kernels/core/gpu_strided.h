#pragma once
// Views of any strides on a device: several of one shape walked together, an element a thread; copies and zeros.
// Last include of a `.cu`, as gpu.h.

#include "kernels/core/gpu_elementwise.h"

namespace dr::DR_BACKEND {

// Where element i, counted in row-major order, of each of N views of one shape lies. Axes that are evenly spaced in all of
// them are one.
template <int N, int kAxes = kMaxRank>
struct StridedIndex {
  int axes = 0;
  int64_t sizes[kAxes] = {1}, strides[kAxes][N] = {};  // innermost first

  struct Offsets {
    int64_t at[N];
    DR_DEVICE int64_t operator[](int v) const { return at[v]; }
  };
  DR_DEVICE Offsets operator()(int64_t i) const {
    Offsets o{};
    DR_UNROLL
    for (int a = 0; a < kAxes; a++) {
      if (a >= axes) break;
      const int64_t at = a + 1 < axes ? i % sizes[a] : i;
      i /= sizes[a];
      DR_UNROLL
      for (int v = 0; v < N; v++) o.at[v] += at * strides[a][v];
    }
    return o;
  }

  // The next axis, from the innermost outwards.
  void add(int64_t size, const int64_t (&stride)[N]) {
    if (size == 1) return;
    bool even = axes > 0;
    for (int v = 0; even && v < N; v++) even = stride[v] == strides[axes - 1][v] * sizes[axes - 1];
    if (even) {
      sizes[axes - 1] *= size;
      return;
    }
    sizes[axes] = size;
    for (int v = 0; v < N; v++) strides[axes][v] = stride[v];
    axes++;
  }
  // Counts packs of n neighbours from now on, where all views consist of such.
  bool pack(int64_t n) {
    if (axes == 0 || sizes[0] % n != 0) return false;
    for (int v = 0; v < N; v++) {
      if (strides[0][v] != 1) return false;
      for (int a = 1; a < axes; a++)
        if (strides[a][v] % n != 0) return false;
    }
    sizes[0] /= n;
    for (int a = 1; a < axes; a++)
      for (int v = 0; v < N; v++) strides[a][v] /= n;
    return true;
  }
};
template <int N>
StridedIndex<N> strided_index(const View (&views)[N]) {
  StridedIndex<N> x;
  for (int i = views[0].rank() - 1; i >= 0; i--) {
    int64_t strides[N];
    for (int v = 0; v < N; v++) strides[v] = views[v].stride(i);
    x.add(views[0].size(i), strides);
  }
  return x;
}

namespace strided_detail {
template <class Index, class F>
struct AtOffsets {
  Index index;
  F f;
  DR_DEVICE void operator()(int64_t i) const { f(index(i)); }
};
template <class T>
struct CopyElement {
  T* to;
  const T* from;
  template <class Offsets>
  DR_DEVICE void operator()(const Offsets& at) const { to[at[1]] = from[at[0]]; }
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
  for_each(ctx, views[0].count(), strided_detail::AtOffsets<StridedIndex<N>, F>{strided_index(views), f});
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

struct alignas(16) Bytes16 {
  uint32_t word[4];
};
inline bool aligned16(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

// to[index[1]] = from[index[0]], bit for bit, for the first `count` elements of type t: 16 bytes a thread where all
// lies so.
template <int kAxes>
void copy_strided(const Context& ctx, StridedIndex<2, kAxes> index, int64_t count, DType t, const void* from,
                  void* to) {
  const auto copy = [&]<class T>(T*, int64_t n) {
    using Copy = strided_detail::CopyElement<T>;
    for_each(ctx, n, strided_detail::AtOffsets<StridedIndex<2, kAxes>, Copy>{
                         index, {static_cast<T*>(to), static_cast<const T*>(from)}});
  };
  const int64_t per_pack = int64_t(16 / size_of(t));
  if (aligned16(from) && aligned16(to) && index.pack(per_pack)) copy(static_cast<Bytes16*>(nullptr), count / per_pack);
  else with_element_bits(t, [&]<class T>(T* type) { copy(type, count); });
}
// to = from, bit for bit, of one shape and dtype.
inline void copy_view(const Context& ctx, const View& from, const View& to) {
  const View views[] = {from, to};
  copy_strided(ctx, strided_index(views), to.count(), to.dtype, from.data, to.data);
}
// Every byte of v zero.
inline void clear_view(const Context& ctx, const View& v) {
  with_element_bits(v.dtype, [&]<class T>(T*) {
    const View views[] = {v};
    for_strided(ctx, views, strided_detail::ClearElement<T>{static_cast<T*>(v.data)});
  });
}

}  // namespace dr::DR_BACKEND
