#include "kernels/guided_euler_step/guided_euler_step.h"

#include "kernels/core/stream.h"
#include "kernels/guided_euler_step/guidance.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kPiece = 16384;  // elements of parallel work

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void GuidedEulerStep::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t count = in.x.count();
  if (count == 0) return;
  CHECK(out.y.packed(), "guided_euler_step: y must be packed, got {} with gaps", to_string(out.y));
  const int64_t rows = in.x.packed() && in.c.packed() && in.u.packed() ? 1 : in.x.size(0), cols = count / rows;
  const float* tau = in.tau.as<float>();
  const f32v dt = splat(tau[0] - tau[1]), g = splat(in.g.as<float>()[0]);
  const bool stream = streams(View(out.y.data, out.y.dtype, rows == 1 ? Sizes{cols} : Sizes{rows, cols}));
  with_float_type(in.x.dtype, [&]<class X>(X*) {
    with_float_type(in.c.dtype, [&]<class V>(V*) {
      for_pieces(ctx, rows, cols, kPiece, stream, [&](int64_t r, int64_t col, int64_t n) {
        const X* x = static_cast<const X*>(in.x.data) + r * in.x.stride(0) + col;
        const V* c = static_cast<const V*>(in.c.data) + r * in.c.stride(0) + col;
        const V* u = static_cast<const V*>(in.u.data) + r * in.u.stride(0) + col;
        X* y = static_cast<X*>(out.y.data) + r * cols + col;
        for_vectors(n, [&](int64_t i, auto m) {
          read_ahead(x + i), read_ahead(c + i), read_ahead(u + i);
          const f32v v = guided(g, load_n(c + i, m), load_n(u + i, m));
          put(y + i, fma(dt, v, load_n(x + i, m)), m, stream);
        });
      });
    });
  });
}

template <>
void GuidedEulerStep::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout,
                                         const Grad& grad) const {
  const int64_t count = in.x.count();
  if (count == 0) return;
  CHECK(dout.y.packed() && (!grad.x || grad.x.packed()) && (!grad.c || grad.c.packed()) && (!grad.u || grad.u.packed()),
        "guided_euler_step: gradients must be packed");
  const float* tau = in.tau.as<float>();
  const f32v dt = splat(tau[0] - tau[1]), g = splat(in.g.as<float>()[0]);
  auto streamed = [&](const View& v) { return v && streams(View(v.data, v.dtype, {count})); };
  const bool stream_x = streamed(grad.x), stream_c = streamed(grad.c), stream_u = streamed(grad.u);
  with_float_type(in.x.dtype, [&]<class X>(X*) {
    with_float_type(in.c.dtype, [&]<class V>(V*) {
      for_pieces(ctx, 1, count, kPiece, stream_x || stream_c || stream_u, [&](int64_t, int64_t col, int64_t n) {
        const X* dy = static_cast<const X*>(dout.y.data) + col;
        // One gradient after another: the piece of dy stays in the first-level caches.
        if (grad.x) {
          X* dx = static_cast<X*>(grad.x.data) + col;
          for_vectors(n, [&](int64_t i, auto m) { put(dx + i, load_n(dy + i, m), m, stream_x); });
        }
        if (grad.c) {
          V* dc = static_cast<V*>(grad.c.data) + col;
          for_vectors(n, [&](int64_t i, auto m) { put(dc + i, g * (dt * load_n(dy + i, m)), m, stream_c); });
        }
        if (grad.u) {
          V* du = static_cast<V*>(grad.u.data) + col;
          for_vectors(n, [&](int64_t i, auto m) {
            put(du + i, unguided_gradient(g, dt * load_n(dy + i, m)), m, stream_u);
          });
        }
      });
    });
  });
}

}  // namespace dr
