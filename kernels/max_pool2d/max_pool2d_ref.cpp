#include <cmath>

#include "kernels/max_pool2d/max_pool2d.h"

namespace dr {

void MaxPool2d::reference(const In& in, const Out& out, const Out& bound) const {
  // Comes before: greater; of zeros the positive one; a NaN before all.
  auto before = [](double a, double b) {
    if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && !std::isnan(b);
    return a == b ? std::signbit(b) && !std::signbit(a) : a > b;
  };
  const Sizes x = in.x.sizes, y = out.y.sizes;
  for (int64_t n = 0; n < y[0]; n++)
    for (int64_t oh = 0; oh < y[1]; oh++)
      for (int64_t ow = 0; ow < y[2]; ow++)
        for (int64_t c = 0; c < y[3]; c++) {
          int place = -1;
          double best = 0;
          for (int kh = 0; kh < kernel.h; kh++)
            for (int kw = 0; kw < kernel.w; kw++) {
              const int64_t h = oh * stride.h - padding.h + kh, w = ow * stride.w - padding.w + kw;
              if (h < 0 || h >= x[1] || w < 0 || w >= x[2]) continue;
              const double v = in.x.at<double>(n, h, w, c);
              if (place < 0 || before(v, best)) best = v, place = kh * kernel.w + kw;
            }
          out.y.at<double>(n, oh, ow, c) = best;
          bound.y.at<double>(n, oh, ow, c) = 0;  // a copy
          out.index.at<int32_t>(n, oh, ow, c) = place;
        }
}

}  // namespace dr
