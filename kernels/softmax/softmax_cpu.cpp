#include "kernels/softmax/softmax.h"
#include "kernels/core/column_sums.h"
#include "kernels/core/softmax_row.h"

namespace dr {

using namespace DR_ISA;

template <>
void Softmax::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t cols = in.x.size(1);
  if (in.x.count() == 0) return;
  const bool stream = streams(out.y);
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    ctx.parallel(in.x.size(0), kRowsPerPiece, [&](int64_t begin, int64_t end) {
      std::vector<float> row(static_cast<size_t>(cols));
      float* const p = row.data();
      for (int64_t r = begin; r < end; r++) {
        const T* x = row_of<const T>(in.x, r);
        T* y = row_of<T>(out.y, r);
        for_vectors(cols, [&](int64_t i, auto n) { store_n(p + i, load_n(x + i, n), n); });
        softmax_row(p, cols, 1.f);
        for_vectors(cols, [&](int64_t i, auto n) { put(y + i, load_n(p + i, n), n, stream); });
      }
      stream_fence(stream);
    });
  });
}

template <>
void Softmax::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy_,
                                 const Grad& grad) const {
  const int64_t cols = in.x.size(1);
  if (!grad.x || in.x.count() == 0) return;
  const bool stream = streams(grad.x);
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    ctx.parallel(in.x.size(0), kRowsPerPiece, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++) {
        const T *y = row_of<const T>(saved.y, r), *dy = row_of<const T>(dy_.y, r);
        T* dx = row_of<T>(grad.x, r);
        const f32v delta = splat(row_reduce(
            cols, [&](f32v& acc, int64_t i, auto n) { acc = fma(load_n(dy + i, n), load_n(y + i, n), acc); }));
        for_vectors(cols, [&](int64_t i, auto n) {
          put(dx + i, load_n(y + i, n) * (load_n(dy + i, n) - delta), n, stream);
        });
      }
      stream_fence(stream);
    });
  });
}

}  // namespace dr
