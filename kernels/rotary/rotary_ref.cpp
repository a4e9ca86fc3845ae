#include <cmath>

#include "kernels/rotary/rotary.h"

namespace dr {

void Rotary::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t half = in.x.size(3) / 2;
  for (int64_t b = 0; b < in.x.size(0); b++)
    for (int64_t t = 0; t < in.x.size(1); t++)
      for (int64_t h = 0; h < in.x.size(2); h++)
        for (int64_t d = 0; d < 2 * half; d++) {
          const double cos = in.cos.at<double>(b, t, d % half), sin = in.sin.at<double>(b, t, d % half);
          const double other = d < half ? -in.x.at<double>(b, t, h, d + half) : in.x.at<double>(b, t, h, d - half);
          const double y = in.x.at<double>(b, t, h, d) * cos + other * sin;
          out.y.at<double>(b, t, h, d) = y;
          bound.y.at<double>(b, t, h, d) = std::fabs(other * sin) + std::fabs(y) + std::fabs(other * sin) * 0x1p-24;
        }
}

}  // namespace dr
