#include <cmath>

#include "kernels/two_hot_mean/two_hot_mean.h"

namespace dr {

void TwoHotMean::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t count = in.bins.size(0);
  const double depth = row_depth(count), second_order = 1 + 0x1p-16;
  for (int64_t r = 0; r < in.logits.size(0); r++) {
    auto x = [&](int64_t c) { return in.logits.at<double>(r, c); };
    double max = x(0);
    for (int64_t c = 1; c < count; c++) max = std::fmax(max, x(c));
    double den = 0, den_error = 0, sum = 0, sum_error = 0;
    for (int64_t c = 0; c < count; c++) {
      const double e = std::exp(x(c) - max), bin = in.bins.at<double>(c);
      den += e;
      sum += e * bin;
      if (e == 0) continue;
      const double own = max - x(c) + 1;  // roundings of e
      den_error += e * (own + depth);
      sum_error += e * std::fabs(bin) * (own + 2 + depth + 1);  // the product, the pair; the row; the middle
    }
    out.mean.at<double>(r) = sum / den;
    bound.mean.at<double>(r) = second_order * (sum_error / den + std::fabs(sum / den) * (den_error / den + 1));
    out.max.at<double>(r) = max, bound.max.at<double>(r) = 0;
    out.den.at<double>(r) = den, bound.den.at<double>(r) = den_error * second_order;
  }
}

}  // namespace dr
