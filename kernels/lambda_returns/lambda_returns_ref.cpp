#include <cmath>

#include "kernels/lambda_returns/lambda_returns.h"

namespace dr {

// The returns as sums of n-step returns would be quadratic in T; the recursion is the definition.
void LambdaReturns::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t batch = in.reward.size(0), steps = in.reward.size(1);
  const double weight = double(lambda);
  for (int64_t b = 0; b < batch; b++) {
    double ret = in.bootstrap.at<double>(b), next = ret, error = 0;
    for (int64_t t = steps - 1; t >= 0; t--) {
      const double c = in.discount.at<double>(b, t), fresh = (1 - weight) * next, old = weight * ret;
      // 1 - lambda, its product, the fma; none of them at the last step, where the mix is the bootstrap itself.
      const bool last = t == steps - 1;
      const double mix = last ? ret : fresh + old;
      const double mix_error = last ? 0 : 2 * std::fabs(fresh) + std::fabs(mix) + weight * error;
      ret = in.reward.at<double>(b, t) + c * mix;
      error = (std::fabs(c) * mix_error + std::fabs(ret)) * (1 + 0x1p-20);  // second order in u is below 2^-20
      next = in.value.at<double>(b, t);
      out.returns.at<double>(b, t) = ret;
      bound.returns.at<double>(b, t) = error;
    }
  }
}

}  // namespace dr
