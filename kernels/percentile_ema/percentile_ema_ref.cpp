#include <algorithm>
#include <cmath>

#include "kernels/percentile_ema/percentile_ema.h"

namespace dr {

void PercentileEma::reference(const In& in, const Out& out, const Out& bound) const {
  std::vector<double> v(in.values.as<double>(), in.values.as<double>() + in.values.count());
  std::sort(v.begin(), v.end());
  double state[2], error[2];
  for (int k = 0; k < 2; k++) {
    const double position = double(k ? high : low) * double(v.size() - 1) / 100;
    const size_t i = size_t(position), next = std::min(i + 1, v.size() - 1);
    const double fraction = position - double(i), part = fraction * (v[next] - v[i]), p = v[i] + part;
    // The fraction and the difference round once each, then the fma; second order in u is below 2^-20 of the first.
    const double p_error = (2 * std::fabs(part) + std::fabs(p)) * (1 + 0x1p-20);
    out.percentiles.as<double>()[k] = p, bound.percentiles.as<double>()[k] = p_error;
    const double old = (1 - double(rate)) * in.state.as<double>()[k], fresh = double(rate) * p;
    // 1 - rate, the product, then the fma.
    state[k] = old + fresh;
    error[k] = std::fabs(old) + double(rate) * p_error + std::fabs(fresh) + std::fabs(state[k]) * (1 + 0x1p-20);
    out.state.as<double>()[k] = state[k], bound.state.as<double>()[k] = error[k];
  }
  const double range = state[1] - state[0];
  out.scale.as<double>()[0] = std::max(double(limit), range);
  bound.scale.as<double>()[0] = error[0] + error[1] + std::fabs(range);
}

}  // namespace dr
