#include "kernels/bottleneck/bottleneck.h"
#include "kernels/bottleneck/feature_rows.h"

#include "kernels/core/stream.h"
#include "kernels/core/philox_simd.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kPiece = 8192;  // elements of parallel work; whole runs of for_random, so inner pieces waste nothing

Sizes sizes_of(const FeatureRows& r) { return r.rows == 1 ? Sizes{r.cols} : Sizes{r.rows, r.cols}; }

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void GaussianBottleneck::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t count = in.x.count();
  if (count == 0) return;
  CHECK(out.y.packed(), "bottleneck: y must be packed, got {} with gaps", to_string(out.y));
  const FeatureRows rows(in);
  const RandomStream s = random_stream(in.rng.as<uint32_t>(), ctx.op_id);
  const uint64_t first = ctx.first_sample * uint64_t(count / in.x.size(0));
  const float noise = in.sigma.as<float>()[0];
  const f32v sigma = splat(noise);
  const float* mean = in.mean ? in.mean.as<float>() : nullptr;
  const float* inv_std = in.mean ? in.inv_std.as<float>() : nullptr;
  // Elsewhere the vectors of a run straddle cache lines.
  const bool aligned = noise == 0 || (first % 4 == 0 && rows.cols % 4 == 0);
  const bool stream = aligned && streams(View(out.y.data, out.y.dtype, sizes_of(rows)));
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    for_pieces(ctx, rows.rows, rows.cols, kPiece, stream, [&](int64_t r, int64_t c, int64_t n) {
      const T* x = static_cast<const T*>(in.x.data) + rows.offset(in.x.stride(0), r) + c;
      T* y = static_cast<T*>(out.y.data) + r * rows.cols + c;
      auto add = [&](auto&& value) {
        if (noise == 0)
          for_vectors(n, [&](int64_t i, auto m) { put(y + i, value(i, m), m, stream); });
        else
          for_random(
              s, first + uint64_t(r * rows.cols + c), n,
              [](const PhiloxVectors& w, f32v (&v)[4]) {
                normal_pair(w.x[0], w.x[1], v[0], v[1]);
                normal_pair(w.x[2], w.x[3], v[2], v[3]);
              },
              [&](int64_t i, f32v z, auto m) { put(y + i, fma(sigma, z, value(i, m)), m, stream); });
      };
      if (mean)
        add([&](int64_t i, auto m) {
          return (load_n(x + i, m) - load_n(mean + c + i, m)) * load_n(inv_std + c + i, m);
        });
      else add([&](int64_t i, auto m) { return load_n(x + i, m); });
    });
  });
}

template <>
void GaussianBottleneck::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout,
                                            const Grad& grad) const {
  if (!grad.x || in.x.count() == 0) return;
  CHECK(dout.y.packed() && grad.x.packed(), "bottleneck: gradients must be packed");
  const FeatureRows rows(in);
  const float* inv_std = in.mean ? in.inv_std.as<float>() : nullptr;
  const bool stream = streams(View(grad.x.data, grad.x.dtype, sizes_of(rows)));
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    for_pieces(ctx, rows.rows, rows.cols, kPiece, stream, [&](int64_t r, int64_t c, int64_t n) {
      const T* dy = static_cast<const T*>(dout.y.data) + r * rows.cols + c;
      T* dx = static_cast<T*>(grad.x.data) + r * rows.cols + c;
      if (inv_std)
        for_vectors(n,
                    [&](int64_t i, auto m) { put(dx + i, load_n(dy + i, m) * load_n(inv_std + c + i, m), m, stream); });
      else
        for_vectors(n, [&](int64_t i, auto m) { put(dx + i, load_n(dy + i, m), m, stream); });
    });
  });
}

}  // namespace dr
