#include "kernels/batch_norm_running/batch_norm_running.h"

#include "kernels/core/simd.h"

namespace dr {
namespace DR_ISA {
namespace {

void merge(Context& ctx, float momentum, float factor, const View& state, const View& leaves, const View& out) {
  ctx.parallel(state.size(0), 1024, [&](int64_t begin, int64_t end) {
    const float *from = state.as<float>() + begin, *leaf = leaves.as<float>() + begin;
    for_vectors(end - begin, [&](int64_t i, auto n) {
      f32v v = load_n(from + i, n);
      for (int64_t l = 0; l < leaves.size(0); l++)
        v = fma(splat(momentum), load_n(leaf + l * leaves.stride(0) + i, n) * splat(factor) - v, v);
      store_n(out.as<float>() + begin + i, v, n);
    });
  });
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void BatchNormRunning::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  merge(ctx, momentum, 1.f, in.mean, in.leaf_mean, out.mean);
  merge(ctx, momentum, float(count) / float(count - 1), in.variance, in.leaf_variance, out.variance);
}

}  // namespace dr
