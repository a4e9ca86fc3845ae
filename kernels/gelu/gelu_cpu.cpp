#include "kernels/gelu/gelu.h"
#include "kernels/gelu/gelu_math.h"

#include "kernels/core/stream.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kElementsPerPiece = 4096;  // of parallel work: a few microseconds, and whole cache lines

// A tensor as rows: one row if it is packed, else one per index of axis 0.
View as_rows(const View& v, bool flat) {
  View rows(v.data, v.dtype, flat ? Sizes{1, v.count()} : Sizes{v.size(0), v.size(0) ? v.count() / v.size(0) : 0});
  if (!flat) rows.strides[0] = v.stride(0);
  return rows;
}

// f(row, first column, columns) for pieces that cover all rows.
template <class F>
void for_pieces(Context& ctx, const View& rows, bool stream, F&& f) {
  const int64_t cols = rows.size(1);
  if (rows.count() == 0) return;
  const int64_t pieces = (cols + kElementsPerPiece - 1) / kElementsPerPiece;
  ctx.parallel(rows.size(0) * pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; p++) {
      const int64_t r = p / pieces, first = p % pieces * kElementsPerPiece;
      const int64_t count = cols - first < kElementsPerPiece ? cols - first : kElementsPerPiece;
      f(r, first, count);
    }
    stream_fence(stream);
  });
}

template <class T>
DR_INLINE T* at(const View& rows, int64_t r, int64_t c) {
  return static_cast<T*>(rows.data) + r * rows.stride(0) + c;
}

template <GeluKind K, class T>
void forward_elements(Context& ctx, const View& x_view, const View& y_view) {
  const bool flat = x_view.packed() && y_view.packed();
  const View x_rows = as_rows(x_view, flat), y_rows = as_rows(y_view, flat);
  const bool stream = streams(y_rows);
  for_pieces(ctx, x_rows, stream, [&](int64_t r, int64_t first, int64_t count) {
    const T* x = at<const T>(x_rows, r, first);
    T* y = at<T>(y_rows, r, first);
    for_vectors(count, [&](int64_t i, auto n) { put(y + i, gelu_value(K, load_n(x + i, n)), n, stream); });
  });
}

template <GeluKind K, class T>
void backward_elements(Context& ctx, const View& x_view, const View& dy_view, const View& dx_view) {
  const bool flat = x_view.packed() && dy_view.packed() && dx_view.packed();
  const View x_rows = as_rows(x_view, flat), dy_rows = as_rows(dy_view, flat), dx_rows = as_rows(dx_view, flat);
  const bool stream = streams(dx_rows);
  for_pieces(ctx, x_rows, stream, [&](int64_t r, int64_t first, int64_t count) {
    const T *x = at<const T>(x_rows, r, first), *dy = at<const T>(dy_rows, r, first);
    T* dx = at<T>(dx_rows, r, first);
    for_vectors(count, [&](int64_t i, auto n) {
      put(dx + i, load_n(dy + i, n) * gelu_derivative(K, load_n(x + i, n)), n, stream);
    });
  });
}

template <class F>
void with_kind(GeluKind kind, F&& f) {
  if (kind == GeluKind::tanh) f.template operator()<GeluKind::tanh>();
  else f.template operator()<GeluKind::erf>();
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void Gelu::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_kind(kind, [&]<GeluKind K>() {
    with_float_type(in.x.dtype, [&]<class T>(T*) { forward_elements<K, T>(ctx, in.x, out.y); });
  });
}

template <>
void Gelu::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  if (!grad.x) return;
  with_kind(kind, [&]<GeluKind K>() {
    with_float_type(in.x.dtype, [&]<class T>(T*) { backward_elements<K, T>(ctx, in.x, dy.y, grad.x); });
  });
}

}  // namespace dr
