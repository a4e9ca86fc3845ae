#include <algorithm>
#include <cmath>

#include "kernels/float_to_image/float_to_image.h"

namespace dr {

void FloatToImage::reference(const In& in, const Out& out, const Out&) const {
  for (int64_t i = 0; i < in.x.count(); i++) {
    // In float: which integer a value next to a half becomes depends on the one rounding that the contract puts here.
    const float v = std::fma(float(in.x.as<double>()[i]), 127.5f, 127.5f);
    out.y.as<uint8_t>()[i] = std::isnan(v) ? 0 : uint8_t(std::nearbyint(std::clamp(v, 0.f, 255.f)));
  }
}

}  // namespace dr
