#include <cmath>

#include "kernels/layernorm/layernorm.h"

namespace dr {

void LayerNorm::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t rows = in.x.size(0), cols = in.x.size(1);
  const double n = double(cols);
  const double depth = double((cols + 31) / 32) + 5;  // additions that one term of a row sum goes through
  for (int64_t r = 0; r < rows; r++) {
    double sum = 0, magnitude = 0;
    for (int64_t c = 0; c < cols; c++) sum += in.x.at<double>(r, c), magnitude += std::fabs(in.x.at<double>(r, c));
    const double mean = sum / n;
    const double mean_error = depth * magnitude / n + std::fabs(mean);  // the sum, then its division

    double square = 0, square_error = 0;
    for (int64_t c = 0; c < cols; c++) {
      const double d = std::fabs(in.x.at<double>(r, c) - mean);
      square += d * d;
      square_error += 2 * d * (mean_error + d);  // of d: the mean's error and one rounding
    }
    // Sum of the squares, division, eps; rsqrt halves the relative error and rounds once.
    const double variance = square / n, padded = variance + double(eps);
    const double rstd = 1 / std::sqrt(padded);
    const double variance_error = square_error / n + (depth + 1) * variance + padded;
    const double rstd_error = rstd * (0.5 * variance_error / padded + 1);
    out.mean.at<double>(r) = mean, bound.mean.at<double>(r) = mean_error;
    out.rstd.at<double>(r) = rstd, bound.rstd.at<double>(r) = rstd_error;

    for (int64_t c = 0; c < cols; c++) {
      const double d = in.x.at<double>(r, c) - mean, xhat = d * rstd;
      const double weight = in.weight ? in.weight.at<double>(c) : 1, bias = in.bias ? in.bias.at<double>(c) : 0;
      const double xhat_error = (mean_error + std::fabs(d)) * rstd + std::fabs(d) * rstd_error + std::fabs(xhat);
      const double y = xhat * weight + bias;
      out.y.at<double>(r, c) = y;
      bound.y.at<double>(r, c) = xhat_error * std::fabs(weight) + std::fabs(y);
    }
  }
}

}  // namespace dr
