#pragma once
// Rows read by index and rows added by index, for Gather and ScatterAdd: each is the other's gradient.
//
// Rows are added by destination: a counting sort lists the sources of each destination in ascending order, then every
// element of the result is one column sum over its list. Nothing is added in memory that two threads share.
// Last include of a `_cpu.cpp`, as simd.h.

#include "kernels/gather/gather.h"

#include "kernels/core/reduce.h"
#include "kernels/core/strided_runs.h"

namespace dr::DR_ISA {

inline int64_t row_elements(const View& v) {
  int64_t n = 1;
  for (int i = 2; i < v.rank(); i++) n *= v.size(i);
  return n;
}

inline const int32_t* index_set(const View& index, int64_t b) {
  return index.as<int32_t>() + (index.rank() == 1 ? 0 : b * index.stride(0));
}

DR_INLINE void check_index(int32_t i, int64_t rows, int64_t b, int64_t m, std::string_view op) {
  CHECK(i >= -1 && i < rows, "{}: index[{},{}] is {}, accepted are -1 (no row) to {}", op, b, m, i, rows - 1);
}

// to[b,m] = from[b, index[b,m]], or zeros; `to` is packed.
inline void gather_rows(const Context& ctx, const View& from, const View& index, const View& to, std::string_view op) {
  const IndexedRows l = IndexedRows::of(from, index, from.size(1));
  const int64_t elements = row_elements(from);
  const size_t bytes = size_t(elements) * size_of(from.dtype);
  const bool stream = to.bytes() >= kStreamBytes;
  ctx.parallel(l.batch * l.indices, std::max<int64_t>(1, kRunPiece / std::max<int64_t>(elements, 1)),
               [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; t++) {
      const int64_t b = t / l.indices, m = t % l.indices;
      const int32_t i = index_set(index, b)[m];
      check_index(i, l.rows, b, m, op);
      std::byte* const row = byte_at(to, t * elements);
      if (i < 0) clear_bytes(row, bytes, stream);
      else copy_bytes(row, byte_at(from, b * from.stride(0) + i * from.stride(1)), bytes, stream);
    }
    stream_fence(stream);
  });
}

// ---- adding ----

// The sources of each destination row, ascending.
class Sources {
 public:
  Sources(const Context& ctx, const IndexedRows& l, const View& index, std::string_view op)
      : l_(l), memory_(ctx.scratch_as<int32_t>(l.scratch_bytes() / sizeof(int32_t))) {
    ctx.parallel(l.index_sets, 1, [&](int64_t begin, int64_t end) {
      for (int64_t set = begin; set < end; set++) {
        const int32_t* const i = index_set(index, set);
        int32_t *first = memory_ + size_t(set) * l.set_size(), *list = first + l.rows + 2;
        std::memset(first, 0, size_t(l.rows + 2) * sizeof(int32_t));
        for (int64_t m = 0; m < l.indices; m++) {
          check_index(i[m], l.rows, set, m, op);
          if (i[m] >= 0) first[i[m] + 2]++;
        }
        for (int64_t n = 0; n < l.rows; n++) first[n + 2] += first[n + 1];
        // first[n + 1] is where row n begins; listing its sources moves it to where row n + 1 does.
        for (int64_t m = 0; m < l.indices; m++)
          if (i[m] >= 0) list[first[i[m] + 1]++] = int32_t(m);
      }
    });
  }
  struct List {
    const int32_t* m;
    int64_t count;
  };
  List of(int64_t b, int64_t n) const {
    const int32_t* first = memory_ + size_t(l_.index_sets == 1 ? 0 : b) * l_.set_size();
    return {first + l_.rows + 2 + first[n], first[n + 1] - first[n]};
  }

 private:
  IndexedRows l_;
  int32_t* memory_;
};

// Columns [0, columns) of the sum of the listed rows: chains of 512, chunk sums in ascending order.
template <class T>
inline void add_listed(const T* rows, int64_t stride, Sources::List list, int64_t columns, T* to, bool stream) {
  auto pass = [&]<int V>(int64_t c, std::integral_constant<int, V>, auto n) {
    f32v sum[V] = {};
    for (int64_t base = 0; base < list.count; base += kChainChunk) {
      f32v chunk[V] = {};
      const int64_t last = std::min(base + kChainChunk, list.count);
      for (int64_t s = base; s < last; s++) {
        const T* row = rows + list.m[s] * stride + c;
#pragma GCC unroll 16
        for (int j = 0; j < V; j++) chunk[j] = chunk[j] + load_n(row + j * W, n);
      }
      for (int j = 0; j < V; j++) sum[j] = base ? sum[j] + chunk[j] : chunk[j];
    }
    for (int j = 0; j < V; j++) put(to + c + j * W, sum[j], n, stream);
  };
  constexpr int64_t kStrip = 64;
  int64_t c = 0;
  for (; c + kStrip <= columns; c += kStrip)
    pass(c, std::integral_constant<int, kStrip / W>{}, std::integral_constant<int, W>{});
  for_vectors(columns - c, [&](int64_t i, auto n) { pass(c + i, std::integral_constant<int, 1>{}, n); });
}

// Integers wrap round: their order does not matter.
template <class T>
  requires std::is_unsigned_v<T>
inline void add_listed(const T* rows, int64_t stride, Sources::List list, int64_t columns, T* to, bool) {
  std::memset(to, 0, size_t(columns) * sizeof(T));
  for (int64_t s = 0; s < list.count; s++)
    for (int64_t c = 0; c < columns; c++) to[c] = T(to[c] + rows[list.m[s] * stride + c]);
}

// to[b,n] = sum of from[b,m] over the m with index[b,m] = n; `to` is packed.
inline void scatter_rows(const Context& ctx, const View& from, const View& index, const View& to, std::string_view op) {
  const IndexedRows l = IndexedRows::of(to, index, to.size(1));
  const Sources sources(ctx, l, index, op);
  const int64_t elements = row_elements(from);
  const bool stream = streams(View(to.data, to.dtype, {l.batch * l.rows, elements}));
  auto add = [&]<class T>(T*) {
    const T* data = static_cast<const T*>(from.data);
    const int64_t mean = (l.indices + l.rows) / std::max<int64_t>(l.rows, 1) * std::max<int64_t>(elements, 1);
    ctx.parallel(l.batch * l.rows, std::max<int64_t>(1, kRunPiece / mean), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; t++)
        add_listed<T>(data + t / l.rows * from.stride(0), from.stride(1), sources.of(t / l.rows, t % l.rows), elements,
                      static_cast<T*>(to.data) + t * elements, stream);
      stream_fence(stream);
    });
  };
  if (to.dtype == DType::i32) add(static_cast<uint32_t*>(nullptr));
  else if (to.dtype == DType::u8) add(static_cast<uint8_t*>(nullptr));
  else with_float_type(to.dtype, add);
}

}  // namespace dr::DR_ISA
