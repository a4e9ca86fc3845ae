#include <cmath>

#include "kernels/rms_norm/rms_norm.h"

namespace dr {

void RmsNorm::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t rows = in.x.size(0), cols = in.x.size(1);
  const double depth = double((cols + 31) / 32) + 5;  // additions that one term of a row sum goes through
  for (int64_t r = 0; r < rows; r++) {
    double square = 0;
    for (int64_t c = 0; c < cols; c++) square += in.x.at<double>(r, c) * in.x.at<double>(r, c);
    const double mean = square / double(cols), padded = mean + double(eps), rstd = 1 / std::sqrt(padded);
    // The sum, its division, eps: relative errors that rsqrt halves; then it rounds once.
    const double rstd_error = rstd * (0.5 * ((depth + 1) * mean + padded) / padded + 1);
    out.rstd.at<double>(r) = rstd, bound.rstd.at<double>(r) = rstd_error;
    for (int64_t c = 0; c < cols; c++) {
      const double x = in.x.at<double>(r, c), weight = in.weight ? in.weight.at<double>(c) : 1, y = x * rstd * weight;
      out.y.at<double>(r, c) = y;
      bound.y.at<double>(r, c) = std::fabs(x * weight) * rstd_error + 2 * std::fabs(y);  // two products
    }
  }
}

}  // namespace dr
