#include "kernels/mul/mul.h"

#include "kernels/core/reduce.h"
#include "kernels/core/strided_runs.h"

namespace dr {
namespace DR_ISA {
namespace {

template <class T>
T* at(const View& v, int64_t offset) {
  return static_cast<T*>(v.data) + offset;
}

template <class T>
void forward_elements(Context& ctx, const Mul::In& in, const View& z_view) {
  const bool stream = streams(z_view);
  for_runs<3>(ctx, {in.a, in.b, z_view}, stream, [&](const auto& begin, int64_t count) {
    const T *a = at<const T>(in.a, begin[0]), *b = at<const T>(in.b, begin[1]);
    T* z = at<T>(z_view, begin[2]);
    for_vectors(count, [&](int64_t i, auto n) {
      read_ahead(a + i), read_ahead(b + i);
      put(z + i, load_n(a + i, n) * load_n(b + i, n), n, stream);
    });
  });
}

template <class T>
void backward_elements(Context& ctx, const Mul::In& in, const View& dz_view, const Mul::Grad& grad) {
  const bool stream_a = grad.a && streams(grad.a), stream_b = grad.b && streams(grad.b);
  // An unwanted gradient is walked as dz, and not written.
  const std::array<View, 5> views{in.a, in.b, dz_view, grad.a ? grad.a : dz_view, grad.b ? grad.b : dz_view};
  for_runs<5>(ctx, views, stream_a || stream_b, [&](const auto& begin, int64_t count) {
    const T *a = at<const T>(in.a, begin[0]), *b = at<const T>(in.b, begin[1]), *dz = at<const T>(dz_view, begin[2]);
    T *da = grad.a ? at<T>(grad.a, begin[3]) : nullptr, *db = grad.b ? at<T>(grad.b, begin[4]) : nullptr;
    for_vectors(count, [&](int64_t i, auto n) {
      read_ahead(a + i), read_ahead(b + i), read_ahead(dz + i);
      const f32v d = load_n(dz + i, n);
      if (da) put(da + i, d * load_n(b + i, n), n, stream_a);
      if (db) put(db + i, d * load_n(a + i, n), n, stream_b);
    });
  });
}

template <class T>
void forward_rows(Context& ctx, const Mul::In& in, const View& z_view) {
  const bool stream = streams(z_view);
  const int axes = Mul::row_axes(in);
  const BlockOffsets a_at(in.a, axes), b_at(in.b, axes);
  const int64_t cols = Mul::row_length(in);
  for_pieces(ctx, in.b.count(), cols, kRunPiece, stream, [&](int64_t r, int64_t c, int64_t count) {
    const T* a = at<const T>(in.a, a_at(r) + c);
    const f32v factor = splat(*at<const float>(in.b, b_at(r)));
    T* z = at<T>(z_view, r * cols + c);
    for_vectors(count, [&](int64_t i, auto n) { put(z + i, load_n(a + i, n) * factor, n, stream); });
  });
}

template <class T>
void backward_rows(Context& ctx, const Mul::In& in, const View& dz_view, const Mul::Grad& grad) {
  const bool stream = grad.a && streams(grad.a);
  const int axes = Mul::row_axes(in);
  const BlockOffsets a_at(in.a, axes), b_at(in.b, axes);
  const int64_t cols = Mul::row_length(in);
  ctx.parallel(in.b.count(), std::max<int64_t>(1, kRunPiece / std::max<int64_t>(cols, 1)),
               [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const T *a = at<const T>(in.a, a_at(r)), *dz = at<const T>(dz_view, r * cols);
      if (grad.b)
        grad.b.as<float>()[r] = row_reduce(
            cols, [&](f32v& acc, int64_t i, auto n) { acc = fma(load_n(dz + i, n), load_n(a + i, n), acc); });
      if (!grad.a) continue;
      const f32v factor = splat(*at<const float>(in.b, b_at(r)));
      T* da = at<T>(grad.a, r * cols);
      for_vectors(cols, [&](int64_t i, auto n) { put(da + i, load_n(dz + i, n) * factor, n, stream); });
    }
    stream_fence(stream);
  });
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void Mul::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(in.a.dtype, [&]<class T>(T*) {
    if (in.a.sizes == in.b.sizes) forward_elements<T>(ctx, in, out.z);
    else forward_rows<T>(ctx, in, out.z);
  });
}

template <>
void Mul::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  with_float_type(in.a.dtype, [&]<class T>(T*) {
    if (in.a.sizes == in.b.sizes) backward_elements<T>(ctx, in, dy.z, grad);
    else backward_rows<T>(ctx, in, dy.z, grad);
  });
}

}  // namespace dr
