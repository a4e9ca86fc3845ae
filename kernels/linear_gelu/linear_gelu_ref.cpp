#include <cmath>

#include "kernels/linear_gelu/linear_gelu.h"

namespace dr {

void LinearGelu::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t inner = in.weight.size(1), cols = in.weight.size(0),
                rows = out.y.sizes.count() / std::max<int64_t>(cols, 1);
  const double *x = in.x.as<double>(), *w = in.weight.as<double>();
  const double c = std::sqrt(2 / std::acos(-1.0));
  for (int64_t i = 0; i < rows * cols; i++) {
    const int64_t r = i / cols, n = i % cols;
    double z = in.bias ? in.bias.at<double>(n) : 0, magnitude = std::fabs(z);
    for (int64_t k = 0; k < inner; k++) {
      z += x[r * inner + k] * w[n * inner + k];
      magnitude += std::fabs(x[r * inner + k] * w[n * inner + k]);
    }
    const double pre_error = (chain_depth(inner) + 1) * magnitude;  // one more rounding: the bias
    // y = z s(t), s the logistic function: 1 + tanh cancels where z is negative, s does not.
    const double t = 2 * c * (z + 0.044715 * z * z * z), s = 1 / (1 + std::exp(-t));
    out.pre.as<double>()[i] = z;
    bound.pre.as<double>()[i] = pre_error;
    out.y.as<double>()[i] = z * s;
    // The slope of GELU stays below 1.13. t has six roundings (two of them in constants) and enters s with weight t (1
    // - s); exp, the sum and the division round once each.
    bound.y.as<double>()[i] = 1.13 * pre_error + (z == 0 ? 0 : std::fabs(z * s)) * (4 + 6 * std::fabs(t) * (1 - s));
  }
}

}  // namespace dr
