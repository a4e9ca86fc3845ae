#include <cmath>

#include "kernels/bottleneck/bottleneck.h"
#include "kernels/philox_fill/philox_ref.h"

namespace dr {

void GaussianBottleneck::reference(const In& in, const Out& out, const Out& bound) const {
  const RandomStream s = random_stream(in.rng.as<uint32_t>(), kReferenceOpId);
  const int64_t cols = in.x.sizes[-1];
  const double sigma = in.sigma.at<double>(0);
  for (int64_t i = 0; i < in.x.count(); i++) {
    double n = in.x.as<double>()[i], n_error = 0;
    if (in.mean) {
      n = (n - in.mean.at<double>(i % cols)) * in.inv_std.at<double>(i % cols);
      n_error = 2 * std::fabs(n);  // the difference, the product
    }
    double y = n, error = n_error;
    if (sigma != 0) {
      const ReferenceNormal z = reference_normal(random_block(s, uint64_t(i) / 4), int(i % 4));
      y = n + sigma * z.z;
      error = n_error + std::fabs(sigma) * z.error + std::fabs(y);
    }
    out.y.as<double>()[i] = y;
    bound.y.as<double>()[i] = error * (1 + 0x1p-20);  // second order
  }
}

}  // namespace dr
