#include <algorithm>
#include <cmath>

#include "kernels/two_hot_cross_entropy/two_hot_cross_entropy.h"

namespace dr {

void TwoHotCrossEntropy::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t count = in.bins.size(0);
  const double depth = row_depth(count), second_order = 1 + 0x1p-16;
  for (int64_t r = 0; r < in.logits.size(0); r++) {
    auto x = [&](int64_t c) { return in.logits.at<double>(r, c); };
    double max = x(0);
    for (int64_t c = 1; c < count; c++) max = std::fmax(max, x(c));
    double den = 0, den_error = 0;
    for (int64_t c = 0; c < count; c++) {
      const double e = std::exp(x(c) - max);
      den += e;
      if (e > 0) den_error += e * (max - x(c) + 1 + depth);
    }
    const double log_den = std::log(den), log_error = den_error / den * second_order + log_den;

    const double target = std::clamp(in.target.at<double>(r), in.bins.at<double>(0), in.bins.at<double>(count - 1));
    double loss = 0, error = 0;
    for (int64_t c = 0; c < count; c++) {
      // A tent over the bin: 1 on it, 0 on its neighbours.
      const double bin = in.bins.at<double>(c);
      double weight = 0;
      if (target == bin) weight = 1;
      else if (c > 0 && target < bin) weight = std::fmax(0, 1 - (bin - target) / (bin - in.bins.at<double>(c - 1)));
      else if (c + 1 < count && target > bin)
        weight = std::fmax(0, 1 - (target - bin) / (in.bins.at<double>(c + 1) - bin));
      if (weight == 0) continue;
      const double nll = log_den - (x(c) - max);
      loss += weight * nll;
      // Two differences and a quotient weigh as much as the upper weight, at most 1, in either; 1 - w, the product with
      // nll and the sum round once each.
      error += weight * (log_error + (max - x(c)) + nll) + (weight < 1 ? 4 : 0) * nll + 2 * weight * nll;
    }
    out.loss.at<double>(r) = loss, bound.loss.at<double>(r) = error;
    out.max.at<double>(r) = max, bound.max.at<double>(r) = 0;
    out.den.at<double>(r) = den, bound.den.at<double>(r) = den_error * second_order;
  }
}

}  // namespace dr
