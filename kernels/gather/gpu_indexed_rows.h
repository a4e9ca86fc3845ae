#pragma once
// indexed_rows.h for devices: rows read by index and rows added by index, for Gather, ScatterAdd and Embedding.
// Last include of a `.cu`, as gpu.h.

#include "kernels/gather/gather.h"

#include "kernels/core/gpu_sort.h"
#include "kernels/core/gpu_strided.h"

namespace dr::DR_BACKEND {

inline int64_t row_elements(const View& v) {
  int64_t n = 1;
  for (int i = 2; i < v.rank(); i++) n *= v.size(i);
  return n;
}

// (B,M) or (M) indices of rows.
struct IndexLists {
  const int32_t* data;
  int64_t stride, count;
  int64_t lowest, rows;  // accepted: lowest to rows - 1
  FaultSink fault;

  // Below 0: no row, which is also what a bad index is.
  DR_DEVICE int64_t operator()(int64_t b, int64_t m) const {
    const int32_t i = data[b * stride + m];
    if (i >= lowest && i < rows) return i;
    fault.raise(i, lowest, rows - 1);
    return -1;
  }
};
inline IndexLists index_lists(const Context& ctx, const View& index, int64_t lowest, int64_t rows,
                              std::string_view op) {
  return {index.as<int32_t>(), index.rank() == 1 ? 0 : index.stride(0), IndexedRows::entries(index), lowest, rows,
          fault_sink(ctx, op)};
}

// ---- reading ----

template <class T>
struct BatchRows {
  const T* data;
  int64_t batch_stride, row_stride;
  DR_DEVICE const T* row(int64_t b, int64_t r) const { return data + b * batch_stride + r * row_stride; }
};

template <class T>
struct GatherUnit {
  BatchRows<T> from;
  T* to;
  int64_t units;  // of a row
  IndexLists index;
  DR_DEVICE void operator()(int64_t t) const {
    const int64_t place = t / units, b = place / index.count;
    const int64_t i = index(b, place % index.count);
    to[t] = i < 0 ? T{} : from.row(b, i)[t % units];
  }
};

// to[b,m] = from[b, index[b,m]], or zeros, bit for bit; `to` is packed. A thread per element, or per 16 bytes.
inline void gather_rows(const Context& ctx, const View& from, const View& index, const View& to, std::string_view op,
                        int64_t lowest = -1) {
  const IndexLists lists = index_lists(ctx, index, lowest, from.size(1), op);
  const int64_t size = int64_t(size_of(from.dtype)), row = row_elements(from);
  const auto gather = [&]<class T>(T*) {
    const auto units = [&](int64_t elements) { return elements * size / int64_t(sizeof(T)); };
    for_each(ctx, units(to.count()),
             GatherUnit<T>{{static_cast<const T*>(from.data), units(from.stride(0)), units(from.stride(1))},
                           static_cast<T*>(to.data), units(row), lists});
  };
  const auto whole = [&](int64_t elements) { return elements * size % 16 == 0; };
  if (aligned16(from.data) && aligned16(to.data) && whole(row) && whole(from.stride(0)) && whole(from.stride(1)))
    gather(static_cast<Bytes16*>(nullptr));
  else with_element_bits(from.dtype, gather);
}

// ---- adding ----

// The key of a place: its row, or `rows` where it has none.
struct KeyOfPlace {
  IndexLists index;
  int32_t* keys;
  DR_DEVICE void operator()(int64_t t) const {
    const int64_t i = index(t / index.count, t % index.count);
    keys[t] = int32_t(i < 0 ? index.rows : i);
  }
};

// Where each row's sources begin among a list's sorted places; one more, where the last one's end.
struct BeginOfRow {
  const int32_t* keys;
  int64_t count, rows;
  int32_t* begins;
  DR_DEVICE void operator()(int64_t t) const {
    const int64_t list = t / (rows + 1), row = t % (rows + 1);
    int64_t low = list * count, high = low + count;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (keys[middle] < row) low = middle + 1;
      else high = middle;
    }
    begins[t] = int32_t(low - list * count);
  }
};

// What sums are taken in, and an element as that: integers wrap round.
template <class T>
using SumOf = std::conditional_t<std::is_integral_v<T>, uint32_t, float>;
template <class T>
DR_DEVICE SumOf<T> summand(const T* p) {
  if constexpr (std::is_integral_v<T>) return *p;
  else return load1(p);
}

// A row's sources in chunks of 512. Of those after the first, a chunk that begins at place p of the sorted list is the
// only one to begin in [p / 512 * 512, p / 512 * 512 + 512), and that is where its sum is kept.
template <class T>
struct ListedRows {
  BatchRows<T> from;
  const int32_t *keys, *places, *begins;
  int64_t lists, count, rows, elements;
  SumOf<T>* partials;  // (batch, chunks, elements)

  static constexpr int64_t kChunk = IndexedSums::kChunk;
  DR_DEVICE int64_t list_of(int64_t b) const { return lists == 1 ? 0 : b; }
  DR_DEVICE int64_t chunks() const { return (count + kChunk - 1) / kChunk; }
  DR_DEVICE SumOf<T>& partial(int64_t b, int64_t place, int64_t c) const {
    return partials[(b * chunks() + place / kChunk) * elements + c];
  }
  // Column c of the chunk that begins at `begin`, of a row whose sources end at `end`.
  DR_DEVICE SumOf<T> chunk(int64_t b, int64_t begin, int64_t end, int64_t c) const {
    const int32_t* const list = places + list_of(b) * count;
    const int64_t last = begin + kChunk < end ? begin + kChunk : end;
    SumOf<T> sum{};
    for (int64_t s = begin; s < last; s++) sum = sum + summand(from.row(b, list[s]) + c);
    return sum;
  }
};

// The chunk, if any, that begins among the places from 512 q on and is not its row's first: its row has place 512 q - 1.
template <class T>
struct PartialSum {
  ListedRows<T> l;
  DR_DEVICE void operator()(int64_t t) const {
    constexpr int64_t kChunk = ListedRows<T>::kChunk;
    const int64_t c = t % l.elements, later = l.chunks() - 1;
    const int64_t b = t / l.elements / later, q = t / l.elements % later + 1;
    const int64_t list = l.list_of(b), row = l.keys[list * l.count + q * kChunk - 1];
    if (row == l.rows) return;
    const int32_t* const begins = l.begins + list * (l.rows + 1) + row;
    const int64_t begin = begins[0] + (q * kChunk - begins[0] + kChunk - 1) / kChunk * kChunk;
    if (begin < begins[1]) l.partial(b, begin, c) = l.chunk(b, begin, begins[1], c);
  }
};
template <class T, class To>
struct RowSum {
  ListedRows<T> l;
  To* to;
  DR_DEVICE void operator()(int64_t t) const {
    const int64_t c = t % l.elements, b = t / l.elements / l.rows, row = t / l.elements % l.rows;
    const int32_t* const begins = l.begins + l.list_of(b) * (l.rows + 1) + row;
    SumOf<T> sum = l.chunk(b, begins[0], begins[1], c);
    for (int64_t p = begins[0] + l.kChunk; p < begins[1]; p += l.kChunk) sum = sum + l.partial(b, p, c);
    if constexpr (std::is_integral_v<To>) to[t] = To(sum);
    else store1(to + t, sum);
  }
};

// to[b,n] = sum of from[b,m] over the m with index[b,m] = n; `to` is packed, of from's type or f32. Scratch: the bytes of
// IndexedSums.
inline void scatter_rows(const Context& ctx, const View& from, const View& index, const View& to, std::string_view op,
                         int64_t lowest = -1) {
  if (to.count() == 0) return;
  const IndexLists lists = index_lists(ctx, index, lowest, to.size(1), op);
  const IndexedSums s{.batch = to.size(0), .sets = index.rank() == 1 ? 1 : to.size(0), .rows = to.size(1),
                      .indices = lists.count, .elements = row_elements(to)};
  CHECK(s.rows < INT32_MAX, "{}: {} rows are more than a device sorts by", op, s.rows);
  int32_t* const words = ctx.scratch_as<int32_t>(s.words());
  int32_t *const begins = words + s.sort().words(), *const partials = begins + s.begins();
  const SortScratch sort(s.sort(), words);
  for_each(ctx, int64_t(s.sort().pairs()), KeyOfPlace{lists, sort.keys});
  const SortedPlaces sorted = sort_places(ctx, s.sort(), sort);
  for_each(ctx, int64_t(s.begins()), BeginOfRow{sorted.keys, s.indices, s.rows, begins});
  const auto add = [&]<class T, class To>(T*, To*) {
    const ListedRows<T> l{{static_cast<const T*>(from.data), from.stride(0), from.stride(1)}, sorted.keys, sorted.places,
                          begins, s.sets, s.indices, s.rows, s.elements, reinterpret_cast<SumOf<T>*>(partials)};
    for_each(ctx, s.batch * (s.chunks() - 1) * s.elements, PartialSum<T>{l});
    for_each(ctx, to.count(), RowSum<T, To>{l, static_cast<To*>(to.data)});
  };
  if (to.dtype == DType::i32) return add(static_cast<uint32_t*>(nullptr), static_cast<uint32_t*>(nullptr));
  if (to.dtype == DType::u8) return add(static_cast<uint8_t*>(nullptr), static_cast<uint8_t*>(nullptr));
  with_float_type(from.dtype, [&]<class T>(T* type) {
    if (to.dtype == from.dtype) add(type, type);
    else add(type, static_cast<float*>(nullptr));
  });
}

}  // namespace dr::DR_BACKEND
