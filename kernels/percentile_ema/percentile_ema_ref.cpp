#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/percentile_ema/percentile_ema.h"

namespace dr {

void PercentileEma::reference(const In& in, const Out& out, const Out& bound) const {
  std::vector<double> sorted(in.x.as<double>(), in.x.as<double>() + in.x.count());
  std::sort(sorted.begin(), sorted.end());
  double next[2], error[2];
  for (int k = 0; k < 2; k++) {
    const double state = in.state.as<double>()[k];
    double p = state, p_error = 0;
    if (!sorted.empty()) {
      const double position = (k ? high : low) * double(sorted.size() - 1), floor = std::floor(position);
      const size_t i = size_t(floor);
      const double a = sorted[i], b = sorted[std::min(i + 1, sorted.size() - 1)];
      p = a + (position - floor) * (b - a);
      p_error = std::fabs(p) + 3 * std::fabs(b - a);  // the difference, the fraction, the sum
    }
    next[k] = state + double(rate) * (p - state);
    error[k] = double(rate) * (p_error + std::fabs(p - state)) + std::fabs(next[k]) +
               double(rate) * (std::fabs(p) + std::fabs(state));
    out.state.as<double>()[k] = next[k];
    bound.state.as<double>()[k] = error[k];
  }
  *out.scale.as<double>() = std::max(double(least), next[1] - next[0]);
  *bound.scale.as<double>() = error[0] + error[1] + std::fabs(next[1] - next[0]);
}

}  // namespace dr
