#include "kernels/group_norm_silu/group_norm_silu.h"

#include "kernels/core/gpu_channel_stats.h"

namespace dr {
namespace DR_BACKEND {
namespace {

NormWeights weights_of(const GroupNormSilu& op, const GroupNormSilu::In& in) {
  return {in.weight.as<float>(), in.bias.as<float>(), op.eps};
}

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void GroupNormSilu::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    const auto f = silu ? channel_norm_forward<T, true> : channel_norm_forward<T, false>;
    f(ctx, geometry(in.x), 1, in.x, weights_of(*this, in), out.y, {out.mean, {}, out.rstd});
  });
}

template <>
void GroupNormSilu::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                       const Grad& grad) const {
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    const auto f = silu ? channel_norm_backward<T, NormForm::silu> : channel_norm_backward<T, NormForm::plain>;
    f(ctx, geometry(in.x), 1, in.x, weights_of(*this, in), saved.mean.as<float>(), saved.rstd.as<float>(), dy.y,
      {grad.x, grad.weight, grad.bias});
  });
}

}  // namespace dr
