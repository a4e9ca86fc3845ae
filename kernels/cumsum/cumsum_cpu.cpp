#include "kernels/cumsum/cumsum.h"

#include "kernels/core/gemm.h"
#include "kernels/core/strided_runs.h"

namespace dr {
namespace DR_ISA {
namespace {

// x as (outer, n, inner); y the same, packed.
struct Layout {
  int64_t outer = 1, n, inner = 1;
  Layout(const View& x, int axis) : n(x.size(axis)) {
    for (int i = 0; i < axis; i++) outer *= x.size(i);
    for (int i = axis + 1; i < x.rank(); i++) inner *= x.size(i);
  }
};

// Chains in the lanes of vectors, walked down strips of columns.
template <class T>
void down_columns(Context& ctx, int axis, bool reverse, const View& x_view, const View& y_view) {
  const Layout l(x_view, axis);
  const BlockOffsets offset(x_view, axis);
  const bool stream = streams(View(y_view.data, y_view.dtype, {l.outer * l.n, l.inner}));
  const int64_t x_step = x_view.stride(axis), direction = reverse ? -1 : 1, first = reverse ? l.n - 1 : 0;
  const int64_t width = strip_width(ctx, l.outer, l.inner), strips = (l.inner + width - 1) / width;
  ctx.parallel(l.outer * strips, std::max<int64_t>(1, kRunPiece / (width * l.n)), [&](int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end; u++) {
      const int64_t o = u / strips, column = u % strips * width, columns = std::min(width, l.inner - column);
      const T* x = static_cast<const T*>(x_view.data) + offset(o) + first * x_step + column;
      T* y = static_cast<T*>(y_view.data) + (o * l.n + first) * l.inner + column;
      f32v sum[kWidestStrip / W] = {};
      for (int64_t i = 0; i < l.n; i++, x += direction * x_step, y += direction * l.inner)
        for_vectors(columns, [&](int64_t c, auto m) {
          __builtin_prefetch(x + 2 * direction * x_step + c);
          const f32v s = sum[c / W] + load_n(x + c, m);
          sum[c / W] = s;
          put(y + c, s, m, stream);
        });
    }
    stream_fence(stream);
  });
}

// Along contiguous rows: W rows at a time, their elements transposed so that each lane has a chain.
template <class T>
void along_rows(Context& ctx, int axis, bool reverse, const View& x_view, const View& y_view) {
  const Layout l(x_view, axis);
  const BlockOffsets offset(x_view, axis);
  // W rows take turns: half a line would leave the write buffers as such.
  const bool whole_lines = W * sizeof(T) >= 64;
  const bool stream = whole_lines && streams(View(y_view.data, y_view.dtype, {l.outer, l.n}));
  ctx.parallel((l.outer + W - 1) / W, std::max<int64_t>(1, kRunPiece / (W * l.n)), [&](int64_t begin, int64_t end) {
    for (int64_t group = begin; group < end; group++) {
      const int rows = int(std::min<int64_t>(W, l.outer - group * W));
      const T* x[W];
      T* y[W];
      for (int r = 0; r < rows; r++) {
        x[r] = static_cast<const T*>(x_view.data) + offset(group * W + r);
        y[r] = static_cast<T*>(y_view.data) + (group * W + r) * l.n;
      }
      alignas(64) float tile[W * W] = {}, chains[W * W];
      f32v sum{};
      const int64_t tiles = (l.n + W - 1) / W;
      for (int64_t t = 0; t < tiles; t++) {
        const int64_t i = (reverse ? tiles - 1 - t : t) * W;
        const int m = int(std::min<int64_t>(W, l.n - i));
        for (int r = 0; r < rows; r++) {
          __builtin_prefetch(x[r] + i + (reverse ? -8 : 8) * W);
          store(tile + r * W, m == W ? load(x[r] + i) : load_n(x[r] + i, m));
        }
        transpose_block(tile, W, chains, W);
        for (int k = 0; k < m; k++) {
          float* const at = chains + (reverse ? m - 1 - k : k) * W;
          sum = sum + load(at);
          store(at, sum);
        }
        transpose_block(chains, W, tile, W);
        for (int r = 0; r < rows; r++) {
          if (m == W) put(y[r] + i, load(tile + r * W), std::integral_constant<int, W>{}, stream);
          else store_n(y[r] + i, load(tile + r * W), m);
        }
      }
    }
    stream_fence(stream);
  });
}

template <class T>
void running_sums(Context& ctx, int axis, bool reverse, const View& x, const View& y) {
  if (x.count() == 0) return;
  if (Layout(x, axis).inner == 1 && x.stride(axis) == 1) along_rows<T>(ctx, axis, reverse, x, y);
  else down_columns<T>(ctx, axis, reverse, x, y);
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void CumSum::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(in.x.dtype, [&]<class T>(T*) { running_sums<T>(ctx, axis_of(in.x.rank()), reverse, in.x, out.y); });
}

template <>
void CumSum::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  if (!grad.x) return;
  with_float_type(in.x.dtype, [&]<class T>(T*) { running_sums<T>(ctx, axis_of(in.x.rank()), !reverse, dy.y, grad.x); });
}

}  // namespace dr
