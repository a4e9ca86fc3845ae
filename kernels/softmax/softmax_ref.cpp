#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/softmax/softmax.h"

namespace dr {

// The maximum is exact. x - m rounds once, which exp turns into |x - m| u relative; exp and the division round once
// each; den averages its terms' errors over y and adds the depth of a row sum.
void Softmax::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t rows = in.x.size(0), cols = in.x.size(1);
  const double depth = std::ceil(double(std::min<int64_t>(cols, 4096)) / 32) + 5 +
                       std::ceil(std::log2(double(cols) / 4096 + 1));
  for (int64_t r = 0; r < rows; r++) {
    double max = -std::numeric_limits<double>::infinity(), den = 0, spread = 0;
    for (int64_t c = 0; c < cols; c++) max = std::max(max, in.x.at<double>(r, c));
    for (int64_t c = 0; c < cols; c++) {
      const double d = max - in.x.at<double>(r, c);
      den += std::exp(-d), spread += std::exp(-d) * (d + 1);
    }
    for (int64_t c = 0; c < cols; c++) {
      const double d = max - in.x.at<double>(r, c), y = std::exp(-d) / den;
      const double relative = d + 1 + spread / den + depth + 1;
      out.y.at<double>(r, c) = y;
      // An e below 2^-126 is rounded to a multiple of 2^-149.
      bound.y.at<double>(r, c) = y * std::expm1(relative * 0x1p-24) * 0x1p24 + 0x1p-149 * 0x1p24;
    }
  }
}

double Softmax::largest_spread(const View& x) {
  double spread = 0;
  for (int64_t r = 0; r < x.size(0); r++) {
    double low = std::numeric_limits<double>::infinity(), high = -low;
    for (int64_t c = 0; c < x.size(1); c++) {
      const double v = x.dtype == DType::bf16 ? double(widen(x.at<bf16>(r, c))) : double(x.at<float>(r, c));
      low = std::min(low, v), high = std::max(high, v);
    }
    spread = std::max(spread, high - low);
  }
  return spread;
}

}  // namespace dr
