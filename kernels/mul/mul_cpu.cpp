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

// Where the rows begin: f(offsets, rows), with offsets one apart in every view for the rows of a run.
template <size_t N, class F>
void for_factors(Context& ctx, const Mul::In& in, std::array<View, N> views, bool stream, F&& f) {
  const int axes = Mul::row_axes(in);
  for (View& v : views) v = leading_axes(v, axes);
  for_runs<N>(ctx, views, stream, f, Mul::row_length(in));
}

template <class T>
void forward_rows(Context& ctx, const Mul::In& in, const View& z_view) {
  const bool stream = streams(z_view);
  const int64_t cols = Mul::row_length(in);
  for_factors<3>(ctx, in, {in.a, in.b, z_view}, stream, [&](const auto& begin, int64_t rows) {
    for (int64_t r = 0; r < rows; r++) {
      const T* a = at<const T>(in.a, begin[0] + r);
      const f32v factor = splat(*at<const float>(in.b, begin[1] + r));
      T* z = at<T>(z_view, begin[2] + r);
      for_vectors(cols, [&](int64_t i, auto n) { put(z + i, load_n(a + i, n) * factor, n, stream); });
    }
  });
}

template <class T>
void backward_rows(Context& ctx, const Mul::In& in, const View& dz_view, const Mul::Grad& grad) {
  const bool stream = grad.a && streams(grad.a);
  const int64_t cols = Mul::row_length(in);
  const std::array<View, 5> views{in.a, in.b, dz_view, grad.a ? grad.a : dz_view, grad.b ? grad.b : in.b};
  for_factors<5>(ctx, in, views, stream, [&](const auto& begin, int64_t rows) {
    for (int64_t r = 0; r < rows; r++) {
      const T *a = at<const T>(in.a, begin[0] + r), *dz = at<const T>(dz_view, begin[2] + r);
      if (grad.b)
        *at<float>(grad.b, begin[4] + r) = row_reduce(
            cols, [&](f32v& acc, int64_t i, auto n) { acc = fma(load_n(dz + i, n), load_n(a + i, n), acc); });
      if (!grad.a) continue;
      const f32v factor = splat(*at<const float>(in.b, begin[1] + r));
      T* da = at<T>(grad.a, begin[3] + r);
      for_vectors(cols, [&](int64_t i, auto n) { put(da + i, load_n(dz + i, n) * factor, n, stream); });
    }
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
