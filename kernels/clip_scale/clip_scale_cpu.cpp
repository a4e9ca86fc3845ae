#include "kernels/clip_scale/clip_scale.h"
#include "kernels/clip_scale/clip_scale_math.h"

#include "kernels/core/reduce.h"

namespace dr {

using namespace DR_ISA;

template <>
void ClipScale::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t blocks = in.sums.count();
  float* tree = ctx.scratch_as<float>(size_t(blocks));
  for (int64_t b = 0; b < blocks; b++) tree[b] = in.sums.at<float>(b);
  const ClippedNorm c =
      clip_norm(tree_sum(tree, blocks), *in.max_norm.as<float>(), in.factor ? *in.factor.as<float>() : 1.f);
  *out.norm.as<float>() = c.norm;
  *out.scale.as<float>() = c.scale;
}

}  // namespace dr
