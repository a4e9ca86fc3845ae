#include "kernels/ema/ema.h"

#include "kernels/core/stream.h"

namespace dr {

using namespace DR_ISA;

template <>
void Ema::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  constexpr int64_t kElementsPerPiece = 16384;  // of parallel work: a few microseconds
  const float level = *in.decay.as<float>();
  const f32v decay = splat(level), rest = splat(1.f - level);
  // In place a line is in the cache already when it is written: nothing to save.
  const bool stream =
      out.average.data != in.average.data && streams(View(out.average.data, DType::f32, {in.x.count()}));
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    for_pieces(ctx, 1, in.x.count(), kElementsPerPiece, stream, [&](int64_t, int64_t begin, int64_t count) {
      const float* average = in.average.as<float>() + begin;
      const T* x = static_cast<const T*>(in.x.data) + begin;
      float* to = out.average.as<float>() + begin;
      for_vectors(count, [&](int64_t i, auto n) {
        read_ahead(average + i), read_ahead(x + i);
        put(to + i, fma(decay, load_n(average + i, n), rest * load_n(x + i, n)), n, stream);
      });
    });
  });
}

}  // namespace dr
