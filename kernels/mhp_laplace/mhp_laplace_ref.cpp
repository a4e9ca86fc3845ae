#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "kernels/cross_entropy/softmax_ref.h"
#include "kernels/mhp_laplace/mhp_laplace.h"

namespace dr {

void MhpLaplace::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t guesses = in.mean.size(1), width = in.mean.size(2);
  constexpr double u = 0x1p-24;
  for (int64_t b = 0; b < in.mean.size(0); b++) {
    auto weight = [&](int64_t i) { return in.weight ? in.weight.at<double>(b, i) : 1; };
    auto error = [&](int64_t k, int64_t i) {
      return std::fabs(in.mean.at<double>(b, k, i) - in.target.at<double>(b, i));
    };
    bool known = false;
    std::vector<double> distance(size_t(guesses), 0);
    for (int64_t i = 0; i < width; i++) {
      if (weight(i) == 0) continue;
      known = true;
      for (int64_t k = 0; k < guesses; k++) distance[size_t(k)] += weight(i) * error(k, i);
    }
    int64_t winner = 0;
    for (int64_t k = 1; k < guesses; k++)
      if (distance[size_t(k)] < distance[size_t(winner)]) winner = k;
    // Distances that rounding may bring into another order; equal ones whose terms are equal keep it.
    bool decided = true;
    for (int64_t k = 0; k < guesses; k++) {
      const double gap = distance[size_t(k)] - distance[size_t(winner)];
      if (gap > 0 && gap < 2 * u * (1 + row_depth(width)) * distance[size_t(k)]) decided = false;
    }

    double nll = 0, nll_error = 0, cross_entropy = 0, cross_error = 0;
    if (known) {
      for (int64_t i = 0; i < width; i++) {
        const double w = weight(i);
        if (w == 0) continue;
        const double s = std::fmax(in.log_scale.at<double>(b, winner, i), double(min_log_scale));
        const double fit = error(winner, i) / std::exp(s), spread = std::log(2.0) + s;
        nll += w * (fit + spread);
        // e and exp(-s), s + log 2 and log 2 itself, the fma; the row's additions.
        nll_error += std::fabs(w) * (2 * fit + std::fabs(spread) + std::numbers::ln2 + std::fabs(fit + spread) +
                                     row_depth(width) * (fit + std::fabs(spread)));
      }
      const ReferenceSoftmax s(guesses, [&](int64_t k) { return in.logits.at<double>(b, k); });
      cross_entropy = s.nll(winner);
      cross_error = s.nll_error(winner);
    }
    const double scaled = double(nll_scale) * nll, loss = scaled + cross_entropy;
    const double loss_error =
        std::fabs(double(nll_scale)) * nll_error + std::fabs(scaled) + cross_error + std::fabs(loss);
    const double slack = decided ? 1 + 0x1p-16 : std::numeric_limits<double>::infinity();  // second order
    out.loss.at<double>(b) = loss, bound.loss.at<double>(b) = loss_error * slack;
    out.nll.at<double>(b) = nll, bound.nll.at<double>(b) = nll_error * slack;
    out.cross_entropy.at<double>(b) = cross_entropy, bound.cross_entropy.at<double>(b) = cross_error * slack;
    out.winner.at<int32_t>(b) = known ? int32_t(winner) : -1;
    bound.winner.at<double>(b) = decided ? 0 : std::numeric_limits<double>::infinity();
  }
}

}  // namespace dr
