#include <cmath>

#include "kernels/mul/mul.h"

namespace dr {

void Mul::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t per_factor = in.b.count() ? in.a.count() / in.b.count() : 1;
  for (int64_t i = 0; i < in.a.count(); i++) {
    const double z = in.a.as<double>()[i] * in.b.as<double>()[i / per_factor];
    out.z.as<double>()[i] = z;
    bound.z.as<double>()[i] = std::fabs(z);  // one product, rounded once
  }
}

}  // namespace dr
