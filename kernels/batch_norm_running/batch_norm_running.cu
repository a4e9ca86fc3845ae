#include "kernels/batch_norm_running/batch_norm_running.h"

#include "kernels/core/gpu_elementwise.h"

namespace dr {
namespace DR_BACKEND {
namespace {

struct Merge {
  const float *state, *leaves;
  int64_t stride, count;  // of leaves
  float momentum, factor;
  float* out;

  DR_DEVICE void operator()(int64_t c) const {
    float v = state[c];
    for (int64_t l = 0; l < count; l++) v = fma(momentum, leaves[l * stride + c] * factor - v, v);
    out[c] = v;
  }
};

void merge(const Context& ctx, float momentum, float factor, const View& state, const View& leaves, const View& out) {
  for_each(ctx, state.size(0),
           Merge{state.as<float>(), leaves.as<float>(), leaves.stride(0), leaves.size(0), momentum, factor,
                 out.as<float>()});
}

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void BatchNormRunning::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  merge(ctx, momentum, 1.f, in.mean, in.leaf_mean, out.mean);
  merge(ctx, momentum, float(count) / float(count - 1), in.variance, in.leaf_variance, out.variance);
}

}  // namespace dr
