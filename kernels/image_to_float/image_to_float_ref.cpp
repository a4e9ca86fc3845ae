#include <cmath>

#include "kernels/image_to_float/image_to_float.h"

namespace dr {

void ImageToFloat::reference(const In& in, const Out& out, const Out& bound) const {
  for (int64_t i = 0; i < in.x.count(); i++) {
    const double y = in.x.as<uint8_t>()[i] / 127.5 - 1;
    out.y.as<double>()[i] = y;
    bound.y.as<double>()[i] = std::fabs(y) * (1 + 0x1p-20);  // rounded once
  }
}

}  // namespace dr
