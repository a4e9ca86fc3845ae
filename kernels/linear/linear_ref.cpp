#include <cmath>

#include "kernels/linear/linear.h"

namespace dr {

void Linear::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t inner = in.weight.size(1), cols = in.weight.size(0),
                rows = out.y.sizes.count() / std::max<int64_t>(cols, 1);
  const double *x = in.x.as<double>(), *w = in.weight.as<double>();
  for (int64_t r = 0; r < rows; r++)
    for (int64_t n = 0; n < cols; n++) {
      double sum = in.bias ? in.bias.at<double>(n) : 0, magnitude = std::fabs(sum);
      for (int64_t k = 0; k < inner; k++) {
        sum += x[r * inner + k] * w[n * inner + k];
        magnitude += std::fabs(x[r * inner + k] * w[n * inner + k]);
      }
      out.y.as<double>()[r * cols + n] = sum;
      bound.y.as<double>()[r * cols + n] = (chain_depth(inner) + 1) * magnitude;  // one more rounding: the bias
    }
}

}  // namespace dr
