#include "kernels/rotary/rotary.h"
#include "kernels/rotary/rotate.h"

#include "kernels/core/stream.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kTokensPerPiece = 4;  // of parallel work: 4 tokens of 12 heads of 64 are a microsecond or two

template <class T>
void rotate_heads(Context& ctx, const View& x_view, const View& cos_view, const View& sin_view, bool back,
                  const View& y_view) {
  const int64_t length = x_view.size(1), heads = x_view.size(2), half = x_view.size(3) / 2;
  const bool stream = streams(y_view) && half % W == 0;
  ctx.parallel(x_view.size(0) * length, kTokensPerPiece, [&](int64_t begin, int64_t end) {
    for (int64_t token = begin; token < end; token++) {
      const int64_t b = token / length, t = token % length;
      const float *c = token_row<const float>(cos_view, b, t), *s = token_row<const float>(sin_view, b, t);
      for (int64_t h = 0; h < heads; h++) {
        const T* x = head_row<const T>(x_view, b, t, h);
        T* y = head_row<T>(y_view, b, t, h);
        for_vectors(half, [&](int64_t i, auto n) {
          const f32v sine = load_n(s + i, n);
          const Pair r = rotate({load_n(x + i, n), load_n(x + half + i, n)}, load_n(c + i, n), back ? -sine : sine);
          put(y + i, r.first, n, stream);
          put(y + half + i, r.second, n, stream);
        });
      }
    }
    stream_fence(stream);
  });
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void Rotary::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(in.x.dtype, [&]<class T>(T*) { rotate_heads<T>(ctx, in.x, in.cos, in.sin, false, out.y); });
}

template <>
void Rotary::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  if (!grad.x) return;
  with_float_type(in.x.dtype, [&]<class T>(T*) { rotate_heads<T>(ctx, dy.y, in.cos, in.sin, true, grad.x); });
}

}  // namespace dr
