#include "kernels/softmax/softmax.h"

#include <atomic>

#include "kernels/core/column_sums.h"
#include "kernels/core/softmax_row.h"

namespace dr {

using namespace DR_ISA;

template <>
void Softmax::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t cols = in.x.size(1), rows = in.x.size(0), slots = std::min<int64_t>(rows, ctx.threads());
  const bool stream = streams(out.y);
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    // Each slot has a row of scratch, and takes rows until there are none.
    std::atomic<int64_t> next{0};
    ctx.parallel(slots, 1, [&](int64_t first, int64_t last) {
      for (int64_t slot = first; slot < last; slot++) {
        float* const e = ctx.scratch_as<float>(size_t(cols), size_t(slot) * row_bytes(in));
        for (int64_t begin; (begin = next.fetch_add(kRowsPerPiece)) < rows;)
          for (int64_t r = begin; r < std::min(begin + kRowsPerPiece, rows); r++) {
            const T* x = row_of<const T>(in.x, r);
            T* y = row_of<T>(out.y, r);
            const SoftmaxRow row = softmax_row(
                cols, [&](int64_t i, auto n) { return load_n(x + i, n); },
                [&](int64_t i, f32v v, auto n) { store_n(e + i, v, n); });
            const RowDivisor divide(row.den);
            for_vectors(cols, [&](int64_t i, auto n) { put(y + i, divide(load_n(e + i, n)), n, stream); });
          }
      }
      stream_fence(stream);
    });
  });
}

template <>
void Softmax::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                 const Grad& grad) const {
  if (!grad.x) return;
  const int64_t cols = in.x.size(1);
  const bool stream = streams(grad.x);
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    ctx.parallel(in.x.size(0), kRowsPerPiece, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++) {
        const T *y = row_of<const T>(saved.y, r), *d = row_of<const T>(dy.y, r);
        T* dx = row_of<T>(grad.x, r);
        const f32v sum = splat(row_reduce(
            cols, [&](f32v& acc, int64_t i, auto n) { acc = fma(load_n(y + i, n), load_n(d + i, n), acc); }));
        for_vectors(cols,
                    [&](int64_t i, auto n) { put(dx + i, load_n(y + i, n) * (load_n(d + i, n) - sum), n, stream); });
      }
      stream_fence(stream);
    });
  });
}

}  // namespace dr
