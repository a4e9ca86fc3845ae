#include <algorithm>
#include <cmath>

#include "kernels/float_to_image/float_to_image.h"

namespace dr {

void FloatToImage::reference(const In& in, const Out& out, const Out&) const {
  for (int64_t i = 0; i < in.x.count(); i++) {
    const double x = in.x.as<double>()[i];
    // Which integer a value near a half becomes is decided in fp32: the contract rounds once before the clamp. The
    // product is exact in double; where the sum is not, x is below 2^-20 and the sum far from halfway between two floats.
    const float v = float(x * 127.5 + 127.5);
    out.y.as<uint8_t>()[i] = std::isnan(v) ? 0 : uint8_t(std::nearbyint(std::clamp(v, 0.f, 255.f)));
  }
}

}  // namespace dr
