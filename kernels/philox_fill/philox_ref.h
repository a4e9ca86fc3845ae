#pragma once
// The normals of core/philox.h in double, for the references of ops that draw them.

#include <cmath>
#include <numbers>

#include "kernels/core/philox.h"

namespace dr {

// z of Box and Muller from the same 24-bit uniforms, and the error of its f32 form in units of 2^-24.
struct ReferenceNormal {
  double z, error;
};
inline ReferenceNormal reference_normal(const PhiloxWords& w, int word) {
  const double u = (double(w.x[word & ~1] >> 8) + 1) / 16777216, v = double(w.x[word | 1] >> 8) / 16777216;
  const double radius = std::sqrt(-2 * std::log(u)), angle = 2 * std::numbers::pi * v;
  const double own = word & 1 ? std::sin(angle) : std::cos(angle), other = word & 1 ? std::cos(angle) : std::sin(angle);
  // Radius: the logarithm's rounding, halved by the root, and the root's own. Angle: 0.5 for the constant, 1 for the
  // product. Then the cosine's and the last product's.
  return {radius * own, radius * (1.5 * std::fabs(own) + 1.5 * angle * std::fabs(other) + 2 * std::fabs(own))};
}

}  // namespace dr
