#include <cmath>

#include "kernels/adaln/adaln.h"

namespace dr {

void AdaLN::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t rows = in.x.size(0), cols = in.x.size(1);
  const double depth = double((cols + 31) / 32) + 5;  // additions that one term of a row sum goes through
  for (int64_t r = 0; r < rows; r++) {
    const int64_t f = r / (rows / in.shift.size(0));
    double sum = 0, abs_sum = 0, square = 0;
    for (int64_t c = 0; c < cols; c++) sum += in.x.at<double>(r, c), abs_sum += std::fabs(in.x.at<double>(r, c));
    const double mean = norm == Norm::layer ? sum / double(cols) : 0;
    const double mean_error = norm == Norm::layer ? (depth + 1) * abs_sum / double(cols) : 0;  // in units of u
    double spread = 0;  // how the errors of x - mean enter the variance: 2 |d| (error of d), averaged
    for (int64_t c = 0; c < cols; c++) {
      const double d = in.x.at<double>(r, c) - mean;
      square += d * d;
      spread += 2 * std::fabs(d) * (mean_error + std::fabs(d));
    }
    const double variance = square / double(cols) + double(eps);
    const double rstd = 1 / std::sqrt(variance);
    const double rstd_error = rstd * (0.5 * (spread / double(cols) + (depth + 2) * variance) / variance + 1);
    if (out.mean) out.mean.at<double>(r) = mean, bound.mean.at<double>(r) = mean_error;
    out.rstd.at<double>(r) = rstd, bound.rstd.at<double>(r) = rstd_error;
    for (int64_t c = 0; c < cols; c++) {
      const double d = in.x.at<double>(r, c) - mean, gain = 1 + in.scale.at<double>(f, c),
                   shift = in.shift.at<double>(f, c);
      out.y.at<double>(r, c) = d * rstd * gain + shift;
      // d: one rounding and the mean's error; times rstd, times gain: two roundings each; the sum: one.
      bound.y.at<double>(r, c) =
          (std::fabs(d) + mean_error) * rstd * std::fabs(gain) + std::fabs(d) * rstd_error * std::fabs(gain) +
          std::fabs(d) * rstd * (std::fabs(gain) + 1) + 2 * std::fabs(d * rstd * gain) + std::fabs(shift);
    }
  }
}

}  // namespace dr
