#include <cmath>

#include "kernels/cross_entropy/cross_entropy.h"

namespace dr {

void CrossEntropy::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t classes = in.logits.size(1);
  const double depth = row_depth(classes), second_order = 1 + 0x1p-16;  // exp(104 u) and the like
  for (int64_t r = 0; r < in.logits.size(0); r++) {
    auto x = [&](int64_t c) { return in.logits.at<double>(r, c); };
    double max = x(0);
    for (int64_t c = 1; c < classes; c++) max = std::fmax(max, x(c));
    // exp(x - m) is off by the rounding of x - m, which is relative to it, and by its own.
    double den = 0, den_error = 0;
    for (int64_t c = 0; c < classes; c++) {
      const double e = std::exp(x(c) - max);
      den += e;
      if (e > 0) den_error += e * (max - x(c) + 1 + depth);
    }
    const double log_den = std::log(den), log_error = den_error / den * second_order + log_den;
    double loss = 0, error = 0;
    auto add = [&](double t, int64_t c, double roundings) {
      const double nll = log_den - (x(c) - max);
      loss += t * nll;
      error += std::fabs(t) * (log_error + (max - x(c)) + (1 + roundings) * std::fabs(nll));
    };
    if (in.target.dtype == DType::i32) {
      if (in.target.at<int32_t>(r) != ignore_index) add(1, in.target.at<int32_t>(r), 0);
    } else {
      for (int64_t c = 0; c < classes; c++)
        if (in.target.at<double>(r, c) != 0) add(in.target.at<double>(r, c), c, depth);
    }
    out.loss.at<double>(r) = loss, bound.loss.at<double>(r) = std::isinf(loss) ? 0 : error;
    out.max.at<double>(r) = max, bound.max.at<double>(r) = 0;
    out.den.at<double>(r) = den, bound.den.at<double>(r) = den_error * second_order;
  }
}

}  // namespace dr
