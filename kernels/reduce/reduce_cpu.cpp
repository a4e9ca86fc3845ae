#include "kernels/reduce/reduce.h"

#include "kernels/core/column_sums.h"
#include "kernels/core/strided_runs.h"
#include "kernels/core/total_order.h"

namespace dr {
namespace DR_ISA {
namespace {

using Layout = Reduce::Layout;
static_assert(Reduce::kBlock == kRowBlock);

// Rows in blocks of 4096: block(first element, count) gives what a block's elements come to, finish(o, parts, n) takes
// a row's parts in order. P is at most 8 bytes.
template <class T, class P, class Block, class Finish>
void reduce_rows(Context& ctx, const Layout& l, const View& x, Block&& block, Finish&& finish) {
  const int64_t blocks = (l.n + kRowBlock - 1) / kRowBlock;
  const BlockOffsets offset(x, l.first);
  const T* data = static_cast<const T*>(x.data);
  if (blocks <= 1) {
    ctx.parallel(l.outer, std::max<int64_t>(1, kRunPiece / std::max<int64_t>(l.n, 1)), [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; o++) {
        P part = block(data + offset(o), int64_t{0}, l.n);
        finish(o, &part, 1);
      }
    });
    return;
  }
  P* parts = ctx.scratch_as<P>(size_t(l.outer * blocks));
  ctx.parallel(l.outer * blocks, kRunPiece / kRowBlock, [&](int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end; u++) {
      const int64_t o = u / blocks, first = u % blocks * kRowBlock;
      parts[u] = block(data + offset(o) + first, first, std::min(kRowBlock, l.n - first));
    }
  });
  ctx.parallel(l.outer, std::max<int64_t>(1, kRunPiece / blocks), [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; o++) finish(o, parts + o * blocks, blocks);
  });
}

// ---- sum and mean ----

template <class T>
void sum_rows(Context& ctx, const Layout& l, const View& x, const View& y, bool mean) {
  const float count = float(l.n);
  reduce_rows<T, float>(
      ctx, l, x, [](const T* row, int64_t, int64_t n) { return row_sum(row, n); },
      [&](int64_t o, float* parts, int64_t n) {
        const float sum = tree_sum(parts, n);
        store1(static_cast<T*>(y.data) + o, mean ? sum / count : sum);
      });
}

template <class T>
void sum_columns(Context& ctx, const Layout& l, const View& x, const View& y, bool mean) {
  const RowGroups groups = Reduce::groups(l);
  const BlockOffsets offset(x, l.first);
  const T* data = static_cast<const T*>(x.data);
  float* sums;
  if constexpr (std::is_same_v<T, float>) sums = y.as<float>();
  else sums = ctx.scratch_as<float>(size_t(l.outer * l.inner), groups.scratch_bytes(1));
  auto columns = [&](int64_t r, int64_t begin, int64_t end, const Sums<1>& into) {
    const T* row = data + offset(r / l.n) + r % l.n * l.stride + begin;
    float* sum = into[0];
    for_vectors(end - begin, [&](int64_t i, auto n) {
      read_ahead(row + i);
      store_n(sum + i, load_n(sum + i, n) + load_n(row + i, n), n);
    });
  };
  auto row = [&](int64_t r, const Sums<1>& into) {
    if (into[0]) columns(r, 0, l.inner, into);
  };
  rows_and_column_sums<1>(ctx, groups, {View(sums, DType::f32, {l.outer, l.inner})}, false, row, columns);
  if (!mean && std::is_same_v<T, float>) return;
  const f32v count = splat(float(l.n));
  ctx.parallel(l.outer * l.inner, kRunPiece, [&](int64_t begin, int64_t end) {
    T* to = static_cast<T*>(y.data) + begin;
    for_vectors(end - begin, [&](int64_t i, auto n) {
      const f32v sum = load_n(sums + begin + i, n);
      store_n(to + i, mean ? sum / count : sum, n);
    });
  });
}

// ---- max and min: the greatest key, and among equals the lowest index ----

struct Best {
  int32_t key = INT32_MIN, index = 0;
};
struct BestLanes {
  i32v key, index;
  DR_INLINE BestLanes() : key(splat_i(INT32_MIN)), index{} {}

  // Lanes see indices in ascending order, so the first of equal keys stays.
  DR_INLINE void take(i32v k, i32v i) {
    const i32v better = k > key;
    key = better ? k : key;
    index = better ? i : index;
  }
};

DR_INLINE i32v lane_numbers() {
  i32v lane;
  for (int i = 0; i < W; i++) lane[i] = i;
  return lane;
}

template <class T>
Best best_of_row(const T* row, int64_t first, int64_t count, int32_t flip) {
  BestLanes a, b;  // two of them: one would wait for itself
  const i32v lane = lane_numbers() + int32_t(first);
  int64_t i = 0;
  for (; i + 2 * W <= count; i += 2 * W) {
    read_ahead(row + i);
    a.take(order_key(load(row + i), flip), lane + int32_t(i));
    b.take(order_key(load(row + i + W), flip), lane + int32_t(i + W));
  }
  for (; i < count; i += W) {
    const int n = count - i < W ? int(count - i) : W;
    const i32v key = order_key(n == W ? load(row + i) : load_n(row + i, n), flip);
    a.take(lane - int32_t(first) < n ? key : splat_i(INT32_MIN), lane + int32_t(i));
  }
  const int32_t key = std::max(greatest(a.key), greatest(b.key));
  const i32v in_a = a.key == key ? ~a.index : splat_i(INT32_MIN), in_b = b.key == key ? ~b.index : splat_i(INT32_MIN);
  return {key, ~std::max(greatest(in_a), greatest(in_b))};  // ~: the lowest index
}

template <class T>
void best_rows(Context& ctx, const Layout& l, const View& x, const Reduce::Out& out, int32_t flip) {
  reduce_rows<T, Best>(
      ctx, l, x, [&](const T* row, int64_t first, int64_t n) { return best_of_row(row, first, n, flip); },
      [&](int64_t o, const Best* parts, int64_t n) {
        Best best = parts[0];
        for (int64_t i = 1; i < n; i++)
          if (parts[i].key > best.key) best = parts[i];
        store1(static_cast<T*>(out.y.data) + o, from_order_key(best.key, flip));
        out.index.as<int32_t>()[o] = best.index;
      });
}

template <class T>
void best_columns(Context& ctx, const Layout& l, const View& x, const Reduce::Out& out, int32_t flip) {
  const BlockOffsets offset(x, l.first);
  const int64_t width = strip_width(ctx, l.outer, l.inner);
  const int64_t strips = (l.inner + width - 1) / width;
  ctx.parallel(l.outer * strips, std::max<int64_t>(1, kRunPiece / (width * l.n)), [&](int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end; u++) {
      const int64_t o = u / strips, first = u % strips * width, cols = std::min(width, l.inner - first);
      const T* row = static_cast<const T*>(x.data) + offset(o) + first;
      BestLanes best[kWidestStrip / W];
      // Several rows for each visit to the best so far; the rows after them are asked for meanwhile.
      auto take = [&]<int Rows>(int64_t i, std::integral_constant<int, Rows>) {
        for_vectors(cols, [&](int64_t c, auto n) {
          BestLanes b = best[c / W];
#pragma GCC unroll 8
          for (int r = 0; r < Rows; r++) {
            __builtin_prefetch(row + (Rows + r) * l.stride + c);
            b.take(order_key(load_n(row + r * l.stride + c, n), flip), splat_i(int32_t(i + r)));
          }
          best[c / W] = b;
        });
        row += Rows * l.stride;
      };
      int64_t i = 0;
      for (; i + 8 <= l.n; i += 8) take(i, std::integral_constant<int, 8>{});
      for (; i < l.n; i++) take(i, std::integral_constant<int, 1>{});
      for_vectors(cols, [&](int64_t c, auto n) {
        const int64_t at = o * l.inner + first + c;
        store_n(static_cast<T*>(out.y.data) + at, from_order_key(best[c / W].key, flip), n);
        std::memcpy(out.index.as<int32_t>() + at, &best[c / W].index, size_t(n) * sizeof(int32_t));
      });
    }
  });
}

// ---- gradients ----

template <class T>
void spread(Context& ctx, const Layout& l, const View& dy_view, const View& dx_view, bool mean) {
  const bool stream = streams(View(dx_view.data, dx_view.dtype, {l.outer * l.n, l.inner})) ||
                      (l.rows && streams(View(dx_view.data, dx_view.dtype, {l.outer, l.n})));
  const f32v count = splat(float(l.n));
  const T* dy = static_cast<const T*>(dy_view.data);
  T* dx = static_cast<T*>(dx_view.data);
  const int64_t rows = l.rows ? l.outer : l.outer * l.n, cols = l.rows ? l.n : l.inner;
  for_pieces(ctx, rows, cols, kRunPiece, stream, [&](int64_t r, int64_t c, int64_t elements) {
    T* to = dx + r * cols + c;
    if (l.rows) {
      const f32v d = splat(load1(dy + r)), share = mean ? d / count : d;
      for_vectors(elements, [&](int64_t i, auto n) { put(to + i, share, n, stream); });
    } else {
      const T* from = dy + r / l.n * l.inner + c;
      for_vectors(elements, [&](int64_t i, auto n) {
        const f32v d = load_n(from + i, n);
        put(to + i, mean ? d / count : d, n, stream);
      });
    }
  });
}

template <class T>
void to_index(Context& ctx, const Layout& l, const View& dy_view, const View& index_view, const View& dx_view) {
  clear_view(ctx, dx_view);
  const T* dy = static_cast<const T*>(dy_view.data);
  T* dx = static_cast<T*>(dx_view.data);
  const int32_t* index = index_view.as<int32_t>();
  ctx.parallel(l.outer * l.inner, kRunPiece, [&](int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end; u++) dx[(u / l.inner * l.n + index[u]) * l.inner + u % l.inner] = dy[u];
  });
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void Reduce::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const Layout l = layout(in.x);
  const int32_t flip = kind == ReduceKind::min ? -1 : 0;
  const bool mean = kind == ReduceKind::mean;
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    if (ordered()) l.rows ? best_rows<T>(ctx, l, in.x, out, flip) : best_columns<T>(ctx, l, in.x, out, flip);
    else l.rows ? sum_rows<T>(ctx, l, in.x, out.y, mean) : sum_columns<T>(ctx, l, in.x, out.y, mean);
  });
}

template <>
void Reduce::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                const Grad& grad) const {
  if (!grad.x) return;
  const Layout l = layout(in.x);
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    if (ordered()) to_index<T>(ctx, l, dy.y, saved.index, grad.x);
    else spread<T>(ctx, l, dy.y, grad.x, kind == ReduceKind::mean);
  });
}

}  // namespace dr
