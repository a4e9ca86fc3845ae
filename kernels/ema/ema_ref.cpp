#include <cmath>

#include "kernels/ema/ema.h"

namespace dr {

void Ema::reference(const In& in, const Out& out, const Out& bound) const {
  const double decay = in.decay.at<double>(0);
  for (int64_t i = 0; i < in.x.count(); i++) {
    const double old = decay * in.average.as<double>()[i], fresh = (1 - decay) * in.x.as<double>()[i];
    out.average.as<double>()[i] = old + fresh;
    // 1 - decay and its product round once each, then the fma; second order in u is below 2^-20 of the first.
    bound.average.as<double>()[i] = (2 * std::fabs(fresh) + std::fabs(old + fresh)) * (1 + 0x1p-20);
  }
}

}  // namespace dr
