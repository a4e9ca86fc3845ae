#pragma once
// One element of a gated recurrent unit in double, and how far a result in fp32 may lie from it: for the references of
// GruCell and BlockGru.

#include <cmath>

namespace dr {

struct GruReference {
  double value, bound;

  // error: that of each gate, in units of u, beside the rounding of the cell itself.
  GruReference(double h, double reset, double candidate, double update, double reset_error = 0,
               double candidate_error = 0, double update_error = 0) {
    // A sigmoid has 3 u; where it is below the normal numbers, 2^-126.
    constexpr double kSubnormal = 0x1p-102;  // 2^-126 in units of u
    const double s = 1 / (1 + std::exp(-reset)), s_error = 3 * s + s * (1 - s) * reset_error + kSubnormal;
    const double a = s * candidate, a_error = s_error * std::fabs(candidate) + s * candidate_error + std::fabs(a);
    const double c = std::tanh(a), c_error = (1 - c * c) * a_error + std::fabs(c);
    // update - 1 rounds once.
    const double z = 1 / (1 + std::exp(1 - update));
    const double z_error = 3 * z + z * (1 - z) * (std::fabs(update - 1) + update_error) + kSubnormal;
    value = z * c + (1 - z) * h;
    // 1 - z and its product round once each, then the fma. Second order: where slopes are not nil, their arguments are
    // off by less than 2^-10.
    bound = (z * c_error + std::fabs(c) * z_error + std::fabs(h) * (z_error + 2 * (1 - z)) + std::fabs(value)) *
            (1 + 0x1p-9);
  }
};

}  // namespace dr
