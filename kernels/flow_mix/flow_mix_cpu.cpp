#include "kernels/flow_mix/flow_mix.h"

#include <algorithm>

#include "kernels/core/reduce.h"
#include "kernels/core/stream.h"
#include "kernels/flow_mix/flow_math.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kPiece = 16384;  // elements of parallel work

bool streamed(const View& v, int64_t rows, int64_t cols) { return v && streams(View(v.data, v.dtype, {rows, cols})); }

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void FlowMix::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  if (in.x0.count() == 0) return;
  CHECK(out.x_tau.packed() && out.v.packed(), "flow_mix: x_tau and v must be packed");
  const int64_t rows = in.x0.size(0), cols = in.x0.count() / rows;
  const bool stream = streamed(out.x_tau, rows, cols) && streamed(out.v, rows, cols);
  with_float_type(in.x0.dtype, [&]<class T>(T*) {
    for_pieces(ctx, rows, cols, kPiece, stream, [&](int64_t r, int64_t c, int64_t n) {
      const FlowLevel level(in.tau.as<float>()[r * in.tau.stride(0)]);
      const T* x0 = static_cast<const T*>(in.x0.data) + r * in.x0.stride(0) + c;
      const T* eps = static_cast<const T*>(in.eps.data) + r * in.eps.stride(0) + c;
      T* x_tau = static_cast<T*>(out.x_tau.data) + r * cols + c;
      T* v = static_cast<T*>(out.v.data) + r * cols + c;
      for_vectors(n, [&](int64_t i, auto m) {
        read_ahead(x0 + i), read_ahead(eps + i);
        const f32v data = load_n(x0 + i, m), noise = load_n(eps + i, m);
        put(x_tau + i, level.point(data, noise), m, stream);
        put(v + i, data - noise, m, stream);
      });
    });
  });
}

template <>
void FlowMix::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout, const Grad& grad) const {
  const int64_t rows = in.x0.size(0);
  if (rows == 0) return;
  const int64_t cols = in.x0.count() / rows;
  for (const View* v : {&dout.x_tau, &dout.v, &grad.x0, &grad.eps, &grad.tau})
    CHECK(!*v || v->packed(), "flow_mix: gradients must be packed");
  with_float_type(in.x0.dtype, [&]<class T>(T*) {
    auto load_or_zero = [](const View& v, int64_t at, auto m) {
      return v ? load_n(static_cast<const T*>(v.data) + at, m) : f32v{};
    };
    if ((grad.x0 || grad.eps) && cols > 0) {
      const bool stream_x = streamed(grad.x0, rows, cols), stream_e = streamed(grad.eps, rows, cols);
      for_pieces(ctx, rows, cols, kPiece, stream_x || stream_e, [&](int64_t r, int64_t c, int64_t n) {
        const FlowLevel level(in.tau.as<float>()[r * in.tau.stride(0)]);
        const int64_t begin = r * cols + c;
        T* dx0 = grad.x0 ? static_cast<T*>(grad.x0.data) + begin : nullptr;
        T* deps = grad.eps ? static_cast<T*>(grad.eps.data) + begin : nullptr;
        for_vectors(n, [&](int64_t i, auto m) {
          const f32v dx = load_or_zero(dout.x_tau, begin + i, m), dv = load_or_zero(dout.v, begin + i, m);
          if (dx0) put(dx0 + i, level.data_gradient(dx, dv), m, stream_x);
          if (deps) put(deps + i, level.noise_gradient(dx, dv), m, stream_e);
        });
      });
    }
    if (grad.tau) {
      ctx.parallel(rows, std::max<int64_t>(1, kPiece / std::max<int64_t>(1, cols)), [&](int64_t b, int64_t e) {
        for (int64_t r = b; r < e; r++) {
          const T* x0 = static_cast<const T*>(in.x0.data) + r * in.x0.stride(0);
          const T* eps = static_cast<const T*>(in.eps.data) + r * in.eps.stride(0);
          grad.tau.as<float>()[r] = row_reduce(cols, [&](f32v& acc, int64_t i, auto m) {
            acc = fma(load_or_zero(dout.x_tau, r * cols + i, m), load_n(eps + i, m) - load_n(x0 + i, m), acc);
          });
        }
      });
    }
  });
}

}  // namespace dr
