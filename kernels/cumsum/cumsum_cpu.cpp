#include "kernels/cumsum/cumsum.h"

#include <algorithm>

#include "kernels/core/simd.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kStrip = 64;  // columns that one thread carries along the axis

// Chains along the middle axis of from, seen as (outer, n, inner), from its first or its last element on.
template <class T>
void chains(Context& ctx, const View& from_view, const View& to_view, int axis, bool descending) {
  int64_t outer = 1, inner = 1;
  const int64_t n = from_view.size(axis);
  for (int i = 0; i < axis; i++) outer *= from_view.size(i);
  for (int i = axis + 1; i < from_view.rank(); i++) inner *= from_view.size(i);
  const T* from = static_cast<const T*>(from_view.data);
  T* to = static_cast<T*>(to_view.data);
  if (inner == 1) {
    ctx.parallel(outer, std::max<int64_t>(1, 4096 / std::max<int64_t>(n, 1)), [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; o++) {
        float sum = 0;
        for (int64_t k = 0; k < n; k++) {
          const int64_t i = o * n + (descending ? n - 1 - k : k);
          sum = k ? sum + load1(from + i) : load1(from + i);
          store1(to + i, sum);
        }
      }
    });
    return;
  }
  const int64_t strips = (inner + kStrip - 1) / kStrip;
  ctx.parallel(outer * strips, 1, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; unit++) {
      const int64_t first = unit % strips * kStrip, cols = std::min(kStrip, inner - first);
      float sum[kStrip];
      for (int64_t k = 0; k < n; k++) {
        const int64_t at = (unit / strips * n + (descending ? n - 1 - k : k)) * inner + first;
        for_vectors(cols, [&](int64_t c, auto w) {
          const f32v v = load_n(from + at + c, w), s = k ? load_n(sum + c, w) + v : v;
          store_n(sum + c, s, w);
          store_n(to + at + c, s, w);
        });
      }
    }
  });
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void CumSum::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(in.x.dtype, [&]<class T>(T*) { chains<T>(ctx, in.x, out.y, axis_of(in.x), false); });
}

template <>
void CumSum::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  if (!grad.x) return;
  CHECK(dy.y.packed(), "cumsum: dy must be packed, got {} with other strides", to_string(dy.y));
  with_float_type(in.x.dtype, [&]<class T>(T*) { chains<T>(ctx, dy.y, grad.x, axis_of(in.x), true); });
}

}  // namespace dr
