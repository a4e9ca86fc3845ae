#include <cmath>

#include "kernels/euler_step/euler_step.h"

namespace dr {

void EulerStep::reference(const In& in, const Out& out, const Out& bound) const {
  const double* x = in.x.as<double>();
  const double* v = in.v.as<double>();
  const double dt = in.tau.at<double>(0) - in.tau.at<double>(1);
  for (int64_t i = 0; i < in.x.count(); i++) {
    const double y = x[i] + dt * v[i];
    out.y.as<double>()[i] = y;
    bound.y.as<double>()[i] = std::fabs(dt * v[i]) + std::fabs(y) + std::fabs(dt * v[i]) * 0x1p-23;  // dt, then the fma
  }
}

}  // namespace dr
