#pragma once
// The normals of core/philox.h in double, for the references of ops that draw them.

#include <cmath>
#include <numbers>

#include "kernels/core/philox.h"

namespace dr {

// z of Box and Muller from the same u and y as the f32 form, and that form's error in units of 2^-24. Radius and point
// of the circle are each accurate relative to themselves, so z is as well: their errors and that of the product.
struct ReferenceNormal {
  double z, error;
};
inline ReferenceNormal reference_normal(const PhiloxWords& w, int word) {
  const uint32_t first = w.x[word & ~1], second = w.x[word | 1];
  const double radius = std::sqrt(-2 * std::log(double(uniform_above_zero(first))));
  const double angle = std::numbers::pi / 4 * double(circle_argument(second));
  const bool sine = bool(second & 2) != bool(word & 1);
  const double z = radius * (sine ? std::sin(angle) : second & 1 ? -std::cos(angle) : std::cos(angle));
  return {z, std::fabs(z) * (kRadiusError + (sine ? kSinError : kCosError) + 1) * (1 + 0x1p-20)};  // second order
}

}  // namespace dr
