#include <cmath>
#include <numbers>

#include "kernels/laplace_nll/laplace_nll.h"

namespace dr {

void LaplaceNll::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t rows = in.mean.size(0), cols = rows ? in.mean.count() / rows : 0;
  for (int64_t r = 0; r < rows; r++) {
    double sum = 0, error = 0;
    for (int64_t i = r * cols; i < (r + 1) * cols; i++) {
      const double w = in.weight ? in.weight.as<double>()[i] : 1;
      if (w == 0) continue;
      const double s = std::fmax(in.log_scale.as<double>()[i], double(min_log_scale));
      const double a = std::fabs(in.mean.as<double>()[i] - in.target.as<double>()[i]), b = std::exp(s);
      const double fit = a / b, spread = std::log(2.0) + s, nll = fit + spread;
      sum += w * nll;
      // e and exp(-s) round once each, s + log 2 does and log 2 itself, then the fma; the row's additions.
      error += std::fabs(w) * (2 * fit + std::fabs(spread) + std::numbers::ln2 +
                               std::fabs(nll) + row_depth(cols) * (fit + std::fabs(spread)));
    }
    out.loss.at<double>(r) = sum;
    bound.loss.at<double>(r) = error * (1 + 0x1p-20);  // second order
  }
}

}  // namespace dr
