#include "kernels/lambda_returns/lambda_returns.h"

#include <algorithm>

#include "kernels/core/column_sums.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kPiece = 2048;  // steps of parallel work: some ten thousand cycles

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void LambdaReturns::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t steps = in.reward.size(1);
  const float rest = 1.f - lambda;
  ctx.parallel(in.reward.size(0), std::max<int64_t>(1, kPiece / steps), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b++) {
      const float *reward = row_of<const float>(in.reward, b), *discount = row_of<const float>(in.discount, b),
                  *value = row_of<const float>(in.value, b);
      float* returns = row_of<float>(out.returns, b);
      float mix = in.bootstrap.as<float>()[b * in.bootstrap.stride(0)];
      for (int64_t t = steps - 1; t >= 0; t--) {
        returns[t] = fma(discount[t], mix, reward[t]);
        mix = fma(lambda, returns[t], rest * value[t]);
      }
    }
  });
}

template <>
void LambdaReturns::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                       const Grad& grad) const {
  const int64_t steps = in.reward.size(1);
  const float rest = 1.f - lambda;
  ctx.parallel(in.reward.size(0), std::max<int64_t>(1, kPiece / steps), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b++) {
      const float *discount = row_of<const float>(in.discount, b), *value = row_of<const float>(in.value, b),
                  *returns = row_of<const float>(saved.returns, b), *dreturns = row_of<const float>(dy.returns, b);
      const float bootstrap = in.bootstrap.as<float>()[b * in.bootstrap.stride(0)];
      float a = 0, step_value = 0;  // of the step before; the gradient of the value that it ended in
      for (int64_t t = 0; t < steps; t++) {
        const float g = t ? fma(lambda, a, dreturns[t]) : dreturns[t];
        if (grad.reward) row_of<float>(grad.reward, b)[t] = g;
        if (grad.value) row_of<float>(grad.value, b)[t] = step_value;
        if (grad.discount) {
          const float mix = t + 1 < steps ? fma(lambda, returns[t + 1], rest * value[t + 1]) : bootstrap;
          row_of<float>(grad.discount, b)[t] = g * mix;
        }
        a = g * discount[t];
        step_value = rest * a;
      }
      if (grad.bootstrap) grad.bootstrap.as<float>()[b] = a;
    }
  });
}

}  // namespace dr
