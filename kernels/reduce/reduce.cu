#include "kernels/reduce/reduce.h"
#include "kernels/core/total_order.h"

#include "kernels/core/gpu_rows.h"
#include "kernels/core/gpu_runs.h"
#include "kernels/core/gpu_strided.h"

namespace dr {
namespace DR_BACKEND {
namespace {

using Layout = Reduce::Layout;

// Where row o of x begins.
struct Outer {
  StridedIndex<1> index;
  Outer(const View& x, int axes) {
    View leading = x;
    leading.sizes.rank = axes;
    index = strided_index({leading});
  }
  DR_DEVICE int64_t operator()(int64_t o) const { return index(o)[0]; }
};

// ---- sum and mean ----

template <class T>
struct RowTerms {
  const T* x;
  Outer offset;
  DR_DEVICE auto operator()(int64_t o) const {
    return [row = x + offset(o)](float& acc, int64_t i) { acc += load1(row + i); };
  }
};
template <class T>
struct ColumnTerms {
  const T* x;
  Outer offset;
  int64_t stride;
  DR_DEVICE auto operator()(int64_t o, int64_t c) const {
    return [column = x + offset(o) + c, step = stride](int64_t i, float (&sum)[1]) {
      sum[0] += load1(column + i * step);
    };
  }
};
template <class T>
struct StoreSum {
  T* y;
  int64_t inner;
  float count;
  bool mean;
  DR_DEVICE void operator()(int64_t o, float sum) const { store1(y + o, mean ? sum / count : sum); }
  DR_DEVICE void operator()(int64_t o, int64_t c, const float (&sum)[1]) const { (*this)(o * inner + c, sum[0]); }
};

// ---- max and min ----

// A key above the complement of its index: the greatest of these is the lowest index of the greatest key.
DR_DEVICE int64_t candidate(float v, int64_t index, int32_t flip) {
  return int64_t(order_key(v, flip)) << 32 | uint32_t(~int32_t(index));
}
constexpr int64_t kNoCandidate = INT64_MIN;

template <class T>
struct StoreBest {
  T* y;
  int32_t *index, flip;
  DR_DEVICE void operator()(int64_t at, int64_t best) const {
    store1(y + at, from_order_key(int32_t(best >> 32), flip));
    index[at] = ~int32_t(uint32_t(best));
  }
};

DR_DEVICE int64_t group_max(int64_t v) {
  for (int offset = kGroup / 2; offset > 0; offset /= 2) {
    const int64_t other = shuffle_xor(v, offset);
    v = other > v ? other : v;
  }
  return v;
}

// Rows by groups, in blocks of 4096 where they are longer: parts[row * per_row + block].
template <class T>
struct BestOfBlock {
  const T* x;
  Outer offset;
  int64_t n, per_row;
  int64_t* parts;
  StoreBest<T> store;

  DR_DEVICE void operator()(int64_t at) const {
    const int64_t o = at / per_row, begin = at % per_row * kRowBlock;
    const int64_t end = begin + kRowBlock < n ? begin + kRowBlock : n;
    const T* const row = x + offset(o);
    int64_t best = kNoCandidate;
    for (int64_t i = begin + lane_index(); i < end; i += kGroup) {
      const int64_t v = candidate(load1(row + i), i, store.flip);
      best = v > best ? v : best;
    }
    best = group_max(best);
    if (lane_index() != 0) return;
    if (per_row == 1) store(o, best);
    else parts[at] = best;
  }
};
template <class T>
struct BestOfRow {
  int64_t per_row;
  const int64_t* parts;
  StoreBest<T> store;

  DR_DEVICE void operator()(int64_t o) const {
    int64_t best = kNoCandidate;
    for (int64_t i = lane_index(); i < per_row; i += kGroup) {
      const int64_t v = parts[o * per_row + i];
      best = v > best ? v : best;
    }
    best = group_max(best);
    if (lane_index() == 0) store(o, best);
  }
};

// Columns by threads, in chunks of 512: parts[(o * chunks + chunk) * inner + c].
template <class T>
struct BestOfChunk {
  const T* x;
  Outer offset;
  int64_t n, inner, stride, chunks;
  int64_t* parts;
  StoreBest<T> store;

  DR_DEVICE void operator()(int64_t at) const {
    const int64_t c = at % inner, chunk = at / inner % chunks, o = at / inner / chunks;
    const int64_t begin = chunk * kChainChunk, end = begin + kChainChunk < n ? begin + kChainChunk : n;
    const T* const column = x + offset(o) + c;
    int64_t best = kNoCandidate;
    for (int64_t i = begin; i < end; i++) {
      const int64_t v = candidate(load1(column + i * stride), i, store.flip);
      best = v > best ? v : best;
    }
    if (chunks == 1) store(at, best);
    else parts[at] = best;
  }
};
template <class T>
struct BestOfColumn {
  int64_t inner, chunks;
  const int64_t* parts;
  StoreBest<T> store;

  DR_DEVICE void operator()(int64_t at) const {
    const int64_t* const column = parts + at / inner * chunks * inner + at % inner;
    int64_t best = kNoCandidate;
    for (int64_t k = 0; k < chunks; k++) best = column[k * inner] > best ? column[k * inner] : best;
    store(at, best);
  }
};

template <class T>
void best(const Context& ctx, const Layout& l, const View& x, const StoreBest<T>& store) {
  const T* const data = static_cast<const T*>(x.data);
  const Outer offset(x, l.first);
  const int64_t outputs = l.outer * l.inner, parts_each = Reduce::parts(l);
  int64_t* const parts = ctx.scratch_as<int64_t>(size_t(parts_each > 1 ? outputs * parts_each : 0));
  if (l.rows) {
    for_rows(ctx, outputs * parts_each, BestOfBlock<T>{data, offset, l.n, parts_each, parts, store});
    if (parts_each > 1) for_rows(ctx, outputs, BestOfRow<T>{parts_each, parts, store});
  } else {
    for_each(ctx, outputs * parts_each, BestOfChunk<T>{data, offset, l.n, l.inner, l.stride, parts_each, parts, store});
    if (parts_each > 1) for_each(ctx, outputs, BestOfColumn<T>{l.inner, parts_each, parts, store});
  }
}

// ---- gradients ----

// Rows of dx are those of its last axis where that is reduced, else of the axes behind the reduced ones.
template <class T>
struct Spread {
  const T* dy;
  const int32_t* index;  // null for sum and mean
  T* dx;
  int64_t n, inner;
  float count;
  bool rows, mean;

  DR_DEVICE void operator()(int64_t r, int64_t c, int left) const {
    Run out{};
    DR_UNROLL
    for (int j = 0; j < kRun; j++) {
      if (j >= left) continue;
      const int64_t i = rows ? c + j : r % n, from = rows ? r : r / n * inner + c + j;
      const float d = load1(dy + from);
      out[j] = index ? (index[from] == i ? d : 0.f) : mean ? d / count : d;
    }
    store_run(dx + r * (rows ? n : inner) + c, out, left);
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void Reduce::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const Layout l = layout(in.x);
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    const T* const x = static_cast<const T*>(in.x.data);
    T* const y = static_cast<T*>(out.y.data);
    if (ordered()) return best<T>(ctx, l, in.x, {y, out.index.as<int32_t>(), kind == ReduceKind::min ? -1 : 0});
    const Outer offset(in.x, l.first);
    const StoreSum<T> store{y, l.inner, float(l.n), kind == ReduceKind::mean};
    if (l.rows)
      for_row_sums(ctx, RowBlocks(View(in.x.data, in.x.dtype, {l.outer, l.n})), RowTerms<T>{x, offset}, store);
    else column_totals<1>(ctx, groups(l), ColumnTerms<T>{x, offset, l.stride}, store);
  });
}

template <>
void Reduce::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                const Grad& grad) const {
  if (!grad.x) return;
  const Layout l = layout(in.x);
  const int64_t rows = l.rows ? l.outer : l.outer * l.n, cols = l.rows ? l.n : l.inner;
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    for_runs(ctx, rows, cols,
             Spread<T>{static_cast<const T*>(dy.y.data), ordered() ? saved.index.as<int32_t>() : nullptr,
                       static_cast<T*>(grad.x.data), l.n, l.inner, float(l.n), l.rows, kind == ReduceKind::mean});
  });
}

}  // namespace dr
