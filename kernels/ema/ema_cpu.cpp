#include "kernels/ema/ema.h"

#include "kernels/core/stream.h"

namespace dr {

using namespace DR_ISA;

template <>
void Ema::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const float *average = in.average.as<float>(), *x = in.x.as<float>(), decay = *in.decay.as<float>();
  float* y = out.average.as<float>();
  const f32v keep = splat(decay), rest = splat(1.f - decay);
  const bool stream = streams(out.average) && y != average;  // a line that was just read is in the cache
  for_pieces(ctx, 1, in.x.count(), 16384, stream, [&](int64_t, int64_t c, int64_t n) {
    for_vectors(n, [&](int64_t i, auto k) {
      put(y + c + i, fma(keep, load_n(average + c + i, k), rest * load_n(x + c + i, k)), k, stream);
    });
  });
}

}  // namespace dr
