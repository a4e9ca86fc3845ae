#include <cmath>

#include "kernels/ema/ema.h"

namespace dr {

void Ema::reference(const In& in, const Out& out, const Out& bound) const {
  const double decay = *in.decay.as<double>(), *average = in.average.as<double>(), *x = in.x.as<double>();
  for (int64_t i = 0; i < in.x.count(); i++) {
    const double old = decay * average[i], fresh = (1 - decay) * x[i];
    out.average.as<double>()[i] = old + fresh;
    bound.average.as<double>()[i] = std::fabs(old) + 3 * std::fabs(fresh);  // 1 - decay, the product, the sum
  }
}

}  // namespace dr
