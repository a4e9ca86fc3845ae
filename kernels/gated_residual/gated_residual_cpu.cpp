#include "kernels/gated_residual/gated_residual.h"
#include "kernels/core/column_sums.h"

namespace dr {
namespace DR_ISA {
namespace {

template <class T>
void forward_rows(Context& ctx, const GatedResidual::In& in, const View& out) {
  const int64_t cols = in.h.size(1), rows_per_frame = GatedResidual::groups(in).rows;
  const bool stream = streams(out);
  ctx.parallel(in.h.size(0), kRowsPerPiece, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const T *residual = row_of<const T>(in.residual, r), *h = row_of<const T>(in.h, r);
      const float* gate = row_of<const float>(in.gate, r / rows_per_frame);
      T* y = row_of<T>(out, r);
      for_vectors(cols, [&](int64_t i, auto n) {
        put(y + i, fma(load_n(gate + i, n), load_n(h + i, n), load_n(residual + i, n)), n, stream);
      });
    }
    stream_fence(stream);
  });
}

template <class T>
void backward_rows(Context& ctx, const GatedResidual::In& in, const View& dy_view, const GatedResidual::Grad& grad) {
  const RowGroups groups = GatedResidual::groups(in);
  const bool stream_residual = grad.residual && streams(grad.residual), stream_h = grad.h && streams(grad.h);
  auto columns = [&](int64_t r, int64_t begin, int64_t end, const Sums<1>& sums) {
    const T *dy = row_of<const T>(dy_view, r) + begin, *h = row_of<const T>(in.h, r) + begin;
    float* sum = sums[0];
    for_vectors(end - begin, [&](int64_t i, auto n) {
      store_n(sum + i, fma(load_n(dy + i, n), load_n(h + i, n), load_n(sum + i, n)), n);
    });
  };
  auto row = [&](int64_t r, const Sums<1>& sums) {
    const T* dy = row_of<const T>(dy_view, r);
    const float* gate = row_of<const float>(in.gate, r / groups.rows);
    T* dresidual = grad.residual ? row_of<T>(grad.residual, r) : nullptr;
    T* dh = grad.h ? row_of<T>(grad.h, r) : nullptr;
    for_vectors(groups.cols, [&](int64_t i, auto n) {
      const f32v d = load_n(dy + i, n);
      if (dresidual) put(dresidual + i, d, n, stream_residual);
      if (dh) put(dh + i, load_n(gate + i, n) * d, n, stream_h);
    });
    if (sums[0]) columns(r, 0, groups.cols, sums);
  };
  rows_and_column_sums<1>(ctx, groups, {grad.gate}, stream_residual || stream_h, row, columns);
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void GatedResidual::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(in.h.dtype, [&]<class T>(T*) { forward_rows<T>(ctx, in, out.y); });
}

template <>
void GatedResidual::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy,
                                       const Grad& grad) const {
  with_float_type(in.h.dtype, [&]<class T>(T*) { backward_rows<T>(ctx, in, dy.y, grad); });
}

}  // namespace dr
