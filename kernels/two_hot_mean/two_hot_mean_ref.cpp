#include "kernels/cross_entropy/softmax_ref.h"
#include "kernels/two_hot_mean/two_hot_mean.h"

namespace dr {

void TwoHotMean::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t count = in.bins.size(0);
  for (int64_t r = 0; r < in.logits.size(0); r++) {
    const ReferenceSoftmax s(count, [&](int64_t c) { return in.logits.at<double>(r, c); });
    double sum = 0, error = 0;
    for (int64_t c = 0; c < count; c++) {
      const double term = s.exp(c) * in.bins.at<double>(c);
      if (term == 0) continue;
      sum += term;
      // x - max and e; the product and the pair; the row; the middle.
      error += std::fabs(term) * (s.below(c) + 1 + 2 + row_depth(count) + 1) * (1 + 0x1p-16);
    }
    const double mean = sum / s.den;
    out.mean.at<double>(r) = mean;
    bound.mean.at<double>(r) = error / s.den + std::fabs(mean) * (s.den_error / s.den + 1);
    out.max.at<double>(r) = s.max, bound.max.at<double>(r) = 0;
    out.den.at<double>(r) = s.den, bound.den.at<double>(r) = s.den_error;
  }
}

}  // namespace dr
