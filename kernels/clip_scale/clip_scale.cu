#include "kernels/clip_scale/clip_scale.h"
#include "kernels/clip_scale/clip_scale_math.h"

#include "kernels/core/gpu_rows.h"

namespace dr {
namespace DR_BACKEND {
namespace {

struct Clip {
  const float *max_norm, *factor;  // factor null: 1
  float *norm, *scale;
  DR_DEVICE void operator()(int64_t, float sum) const {
    const ClippedNorm c = clip_norm(sum, *max_norm, factor ? *factor : 1.f);
    *norm = c.norm;
    *scale = c.scale;
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void ClipScale::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  for_block_sums(ctx, 1, in.sums.count(), in.sums.as<float>(),
                 Clip{in.max_norm.as<float>(), in.factor ? in.factor.as<float>() : nullptr, out.norm.as<float>(),
                      out.scale.as<float>()});
}

}  // namespace dr
