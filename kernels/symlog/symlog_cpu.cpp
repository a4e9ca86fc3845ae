#include "kernels/symlog/symlog.h"
#include "kernels/symlog/symlog_math.h"

#include "kernels/core/stream.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kPiece = 8192;

// f(first element in x, first in packed y, how many) in parallel over runs without a gap.
template <class F>
void for_runs(Context& ctx, const View& x, bool stream, F&& f) {
  if (x.count() == 0) return;
  const int64_t rows = x.packed() ? 1 : x.size(0), cols = x.count() / rows;
  for_pieces(ctx, rows, cols, kPiece, stream, [&](int64_t r, int64_t c, int64_t count) {
    f((rows == 1 ? 0 : r * x.stride(0)) + c, r * cols + c, count);
  });
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void SymLog::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    const bool stream = streams(View(out.y.data, out.y.dtype, {out.y.count()})) && in.x.packed();
    for_runs(ctx, in.x, stream, [&](int64_t from, int64_t to, int64_t count) {
      const T* x = static_cast<const T*>(in.x.data) + from;
      T* y = static_cast<T*>(out.y.data) + to;
      for_vectors(count, [&](int64_t i, auto n) { put(y + i, symlog_value(kind, load_n(x + i, n)), n, stream); });
    });
  });
}

template <>
void SymLog::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout, const Grad& grad) const {
  if (!grad.x) return;
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    const bool stream = streams(View(grad.x.data, grad.x.dtype, {grad.x.count()})) && in.x.packed();
    for_runs(ctx, in.x, stream, [&](int64_t from, int64_t to, int64_t count) {
      const T *x = static_cast<const T*>(in.x.data) + from, *dy = static_cast<const T*>(dout.y.data) + to;
      T* dx = static_cast<T*>(grad.x.data) + to;
      for_vectors(count, [&](int64_t i, auto n) {
        put(dx + i, symlog_gradient(kind, load_n(x + i, n), load_n(dy + i, n)), n, stream);
      });
    });
  });
}

}  // namespace dr
