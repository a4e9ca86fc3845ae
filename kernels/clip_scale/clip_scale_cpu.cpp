#include "kernels/clip_scale/clip_scale.h"
#include "kernels/core/reduce.h"

namespace dr {

using namespace DR_ISA;

template <>
void ClipScale::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t blocks = in.sums.count();
  float* tree = ctx.scratch_as<float>(size_t(blocks));
  for (int64_t b = 0; b < blocks; b++) tree[b] = in.sums.at<float>(b);
  const float factor = in.factor ? *in.factor.as<float>() : 1.f;
  const float norm = factor * __builtin_sqrtf(tree_sum(tree, blocks));
  const float ratio = *in.max_norm.as<float>() / (norm + kTiny);
  const bool finite = norm - norm == 0.f;  // false for infinity and NaN
  *out.norm.as<float>() = norm;
  *out.scale.as<float>() = finite ? factor * (ratio >= 1.f ? 1.f : ratio) : 0.f;
}

}  // namespace dr
