#include "kernels/euler_step/euler_step.h"

#include <algorithm>

#include "kernels/core/stream.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kPiece = 16384;  // elements of parallel work

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void EulerStep::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t count = in.x.count();
  if (count == 0) return;
  CHECK(out.y.packed(), "euler_step: y must be packed, got {} with gaps", to_string(out.y));
  const int64_t rows = in.x.packed() && in.v.packed() ? 1 : in.x.size(0), cols = count / rows;
  const float* tau = in.tau.as<float>();
  const f32v dt = splat(tau[0] - tau[1]);
  const bool stream = streams(View(out.y.data, out.y.dtype, rows == 1 ? Sizes{cols} : Sizes{rows, cols}));
  with_float_type(in.x.dtype, [&]<class X>(X*) {
    with_float_type(in.v.dtype, [&]<class V>(V*) {
      for_pieces(ctx, rows, cols, kPiece, stream, [&](int64_t r, int64_t c, int64_t n) {
        const X* x = static_cast<const X*>(in.x.data) + r * in.x.stride(0) + c;
        const V* v = static_cast<const V*>(in.v.data) + r * in.v.stride(0) + c;
        X* y = static_cast<X*>(out.y.data) + r * cols + c;
        for_vectors(n, [&](int64_t i, auto m) {
          read_ahead(x + i), read_ahead(v + i);
          put(y + i, fma(dt, load_n(v + i, m), load_n(x + i, m)), m, stream);
        });
      });
    });
  });
}

template <>
void EulerStep::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout,
                                   const Grad& grad) const {
  const int64_t count = in.x.count();
  if (count == 0) return;
  CHECK(dout.y.packed() && (!grad.x || grad.x.packed()) && (!grad.v || grad.v.packed()),
        "euler_step: gradients must be packed");
  const float* tau = in.tau.as<float>();
  const f32v dt = splat(tau[0] - tau[1]);
  const bool stream_x = grad.x && streams(View(grad.x.data, grad.x.dtype, {count}));
  const bool stream_v = grad.v && streams(View(grad.v.data, grad.v.dtype, {count}));
  with_float_type(in.x.dtype, [&]<class X>(X*) {
    with_float_type(in.v.dtype, [&]<class V>(V*) {
      for_pieces(ctx, 1, count, kPiece, stream_x || stream_v, [&](int64_t, int64_t c, int64_t n) {
        const X* dy = static_cast<const X*>(dout.y.data) + c;
        if (grad.x) {
          X* dx = static_cast<X*>(grad.x.data) + c;
          for_vectors(n, [&](int64_t i, auto m) { put(dx + i, load_n(dy + i, m), m, stream_x); });
        }
        if (grad.v) {
          V* dv = static_cast<V*>(grad.v.data) + c;
          for_vectors(n, [&](int64_t i, auto m) { put(dv + i, dt * load_n(dy + i, m), m, stream_v); });
        }
      });
    });
  });
}

}  // namespace dr
