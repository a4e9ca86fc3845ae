#include <cmath>

#include "kernels/guided_euler_step/guided_euler_step.h"

namespace dr {

void GuidedEulerStep::reference(const In& in, const Out& out, const Out& bound) const {
  const double* x = in.x.as<double>();
  const double* c = in.c.as<double>();
  const double* u = in.u.as<double>();
  const double g = in.g.at<double>(0), dt = in.tau.at<double>(0) - in.tau.at<double>(1);
  for (int64_t i = 0; i < in.x.count(); i++) {
    const double v = u[i] + g * (c[i] - u[i]), y = x[i] + dt * v;
    const double v_error = std::fabs(g * (c[i] - u[i])) + std::fabs(v);  // the difference, the fma
    out.y.as<double>()[i] = y;
    // dt rounds once, the last fma once; second order in u is below 2^-20 of the first.
    bound.y.as<double>()[i] = (std::fabs(dt) * (v_error + std::fabs(v)) + std::fabs(y)) * (1 + 0x1p-20);
  }
}

}  // namespace dr
