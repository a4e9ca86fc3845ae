#include <cmath>

#include "kernels/flow_mix/flow_mix.h"

namespace dr {

void FlowMix::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t rows = in.x0.size(0), cols = rows ? in.x0.count() / rows : 0;
  for (int64_t r = 0; r < rows; r++) {
    const double tau = in.tau.at<double>(r);
    for (int64_t i = r * cols; i < (r + 1) * cols; i++) {
      const double x0 = in.x0.as<double>()[i], eps = in.eps.as<double>()[i], mix = tau * eps + (1 - tau) * x0;
      out.x_tau.as<double>()[i] = mix;
      out.v.as<double>()[i] = x0 - eps;
      // 1 - tau and its product, then the fma; second order in u is below 2^-20 of the first.
      bound.x_tau.as<double>()[i] = (2 * std::fabs((1 - tau) * x0) + std::fabs(mix)) * (1 + 0x1p-20);
      bound.v.as<double>()[i] = std::fabs(x0 - eps);
    }
  }
}

}  // namespace dr
