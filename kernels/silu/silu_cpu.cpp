#include "kernels/silu/silu.h"

#include "kernels/core/sigmoid.h"
#include "kernels/core/strided_runs.h"

namespace dr {

using namespace DR_ISA;

template <>
void Silu::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const bool stream = streams(out.y) && in.x.packed();
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    for_runs<2>(ctx, {in.x, out.y}, stream, [&](const auto& at, int64_t count) {
      const T* x = static_cast<const T*>(in.x.data) + at[0];
      T* y = static_cast<T*>(out.y.data) + at[1];
      for_vectors(count, [&](int64_t i, auto n) {
        const f32v v = load_n(x + i, n);
        put(y + i, v * sigmoid(v), n, stream);
      });
    });
  });
}

template <>
void Silu::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  if (!grad.x) return;
  constexpr float kLargest = 0x1.fffffep127f;
  const bool stream = streams(grad.x) && in.x.packed() && dy.y.packed();
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    for_runs<3>(ctx, {in.x, dy.y, grad.x}, stream, [&](const auto& at, int64_t count) {
      const T *x = static_cast<const T*>(in.x.data) + at[0], *d = static_cast<const T*>(dy.y.data) + at[1];
      T* dx = static_cast<T*>(grad.x.data) + at[2];
      for_vectors(count, [&](int64_t i, auto n) {
        const f32v v = load_n(x + i, n), raw = exp(-v), e = raw > splat(kLargest) ? splat(kLargest) : raw;
        const f32v s = splat(1.f) / (splat(1.f) + e);
        put(dx + i, load_n(d + i, n) * (s * fma(v, e * s, splat(1.f))), n, stream);
      });
    });
  });
}

}  // namespace dr
