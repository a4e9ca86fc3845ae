#include <cmath>

#include "kernels/lambda_returns/lambda_returns.h"

namespace dr {

void LambdaReturns::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t steps = in.reward.size(1);
  const double l = double(lambda);
  for (int64_t b = 0; b < in.reward.size(0); b++) {
    double next = in.value.at<double>(b, steps), error = 0;  // in units of u
    for (int64_t t = steps - 1; t >= 0; t--) {
      const double v = (1 - l) * in.value.at<double>(b, t + 1), m = v + l * next, c = in.discount.at<double>(b, t);
      // 1 - lambda, its product, the inner fma; the outer fma; and what came from behind.
      error = c * (2 * std::fabs(v) + std::fabs(m) + l * error);
      next = in.reward.at<double>(b, t) + c * m;
      error += std::fabs(next);
      out.returns.at<double>(b, t) = next;
      bound.returns.at<double>(b, t) = error;
    }
  }
}

}  // namespace dr
