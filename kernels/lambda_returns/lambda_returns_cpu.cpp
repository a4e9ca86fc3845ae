#include "kernels/lambda_returns/lambda_returns.h"

#include "kernels/core/simd.h"

namespace dr {

using namespace DR_ISA;

// A trajectory is a chain along its steps; the trajectories are independent.
constexpr int64_t kTrajectories = 64;  // of a piece of parallel work

template <>
void LambdaReturns::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t steps = in.reward.size(1);
  ctx.parallel(in.reward.size(0), kTrajectories, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b++) {
      const float *reward = in.reward.as<float>() + b * steps, *discount = in.discount.as<float>() + b * steps,
                  *value = in.value.as<float>() + b * (steps + 1);
      float* returns = out.returns.as<float>() + b * steps;
      float next = value[steps];
      for (int64_t t = steps - 1; t >= 0; t--)
        returns[t] = next = fma(discount[t], fma(lambda, next, (1 - lambda) * value[t + 1]), reward[t]);
    }
  });
}

template <>
void LambdaReturns::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                       const Grad& grad) const {
  const int64_t steps = in.reward.size(1);
  CHECK(dy.returns.packed(), "lambda_returns: dreturns must be packed");
  ctx.parallel(in.reward.size(0), kTrajectories, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b++) {
      const float *discount = in.discount.as<float>() + b * steps, *value = in.value.as<float>() + b * (steps + 1),
                  *returns = saved.returns.as<float>() + b * steps, *d = dy.returns.as<float>() + b * steps;
      float* dvalue = grad.value ? grad.value.as<float>() + b * (steps + 1) : nullptr;
      if (dvalue) dvalue[0] = 0;
      float g = 0;
      for (int64_t t = 0; t < steps; t++) {
        const bool last = t + 1 == steps;
        g = t ? fma(lambda * discount[t - 1], g, d[t]) : d[t];
        if (grad.reward) grad.reward.as<float>()[b * steps + t] = g;
        if (grad.discount)
          grad.discount.as<float>()[b * steps + t] =
              g * fma(lambda, last ? value[steps] : returns[t + 1], (1 - lambda) * value[t + 1]);
        if (dvalue) {
          const float w = discount[t] * g, part = (1 - lambda) * w;
          dvalue[t + 1] = last ? fma(lambda, w, part) : part;
        }
      }
    }
  });
}

}  // namespace dr
