#include <cmath>

#include "kernels/rotary_table/rotary_table.h"

namespace dr {

// The exponent E = (i / share) log(base) takes 3 roundings, which the exponential turns into 3 E relative; it and the
// product with the position round once each. A cosine or sine moves by no more than its angle does, and rounds once.
void RotaryTable::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t half = frequencies(), rows = half ? out.cos.count() / half : 0;
  for (int64_t r = 0; r < rows; r++) {
    int64_t j = r * half;
    for (int a = 0; a < axes(); a++)
      for (int i = 0; i < share[size_t(a)]; i++, j++) {
        const double exponent = double(i) / share[size_t(a)] * std::log(double(base));
        const double angle = in.position.as<int32_t>()[r * axes() + a] * std::exp(-exponent);
        const double moved = std::fabs(angle) * (3 * std::fabs(exponent) + 2) * (1 + 0x1p-16);
        out.cos.as<double>()[j] = std::cos(angle), bound.cos.as<double>()[j] = moved + std::fabs(std::cos(angle));
        out.sin.as<double>()[j] = std::sin(angle), bound.sin.as<double>()[j] = moved + std::fabs(std::sin(angle));
      }
  }
}

}  // namespace dr
