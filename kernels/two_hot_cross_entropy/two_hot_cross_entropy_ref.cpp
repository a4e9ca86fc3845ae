#include <algorithm>
#include <cmath>

#include "kernels/cross_entropy/softmax_ref.h"
#include "kernels/two_hot_cross_entropy/two_hot_cross_entropy.h"

namespace dr {

void TwoHotCrossEntropy::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t count = in.bins.size(0);
  auto bin = [&](int64_t c) { return in.bins.at<double>(c); };
  for (int64_t r = 0; r < in.logits.size(0); r++) {
    const ReferenceSoftmax s(count, [&](int64_t c) { return in.logits.at<double>(r, c); });
    const double target = std::clamp(in.target.at<double>(r), bin(0), bin(count - 1));
    double loss = 0, error = 0;
    for (int64_t c = 0; c < count; c++) {
      // A tent over the bin: 1 on it, 0 on its neighbours.
      double weight = target == bin(c);
      if (c > 0 && target < bin(c)) weight = std::fmax(0, 1 - (bin(c) - target) / (bin(c) - bin(c - 1)));
      if (c + 1 < count && target > bin(c)) weight = std::fmax(0, 1 - (target - bin(c)) / (bin(c + 1) - bin(c)));
      if (weight == 0) continue;
      loss += weight * s.nll(c);
      // Two differences and a quotient are off by no more than 3 u of 1 in either weight, as is 1 - w by u; the product
      // with nll and the sum round once each.
      error += weight * s.nll_error(c) + (weight < 1 ? 4 : 0) * s.nll(c) + 2 * weight * s.nll(c);
    }
    out.loss.at<double>(r) = loss, bound.loss.at<double>(r) = error;
    out.max.at<double>(r) = s.max, bound.max.at<double>(r) = 0;
    out.den.at<double>(r) = s.den, bound.den.at<double>(r) = s.den_error;
  }
}

}  // namespace dr
