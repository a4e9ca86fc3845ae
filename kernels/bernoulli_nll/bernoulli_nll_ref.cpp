#include <cmath>

#include "kernels/bernoulli_nll/bernoulli_nll.h"

namespace dr {

void BernoulliNll::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t rows = in.logits.size(0), cols = rows ? in.logits.count() / rows : 0;
  for (int64_t r = 0; r < rows; r++) {
    double sum = 0, error = 0;
    for (int64_t i = r * cols; i < (r + 1) * cols; i++) {
      const double w = in.weight ? in.weight.as<double>()[i] : 1;
      if (w == 0) continue;
      const double x = in.logits.as<double>()[i], t = in.target.as<double>()[i];
      const double softplus = std::log1p(std::exp(-std::fabs(x)));
      const double linear = x > 0 ? (1 - t) * x : -t * x, nll = linear + softplus;
      sum += w * nll;
      // The fma; exp, which weighs less than 1 in softplus, and log1p; their sum; the row's additions.
      error += std::fabs(w) * (std::fabs(linear) + 2 * softplus + (1 + row_depth(cols)) * std::fabs(nll));
    }
    out.loss.at<double>(r) = sum;
    bound.loss.at<double>(r) = error * (1 + 0x1p-20);  // second order
  }
}

}  // namespace dr
