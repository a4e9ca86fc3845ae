#include <cmath>

#include "kernels/avg_pool2d/avg_pool2d.h"

namespace dr {

void AvgPool2d::reference(const In& in, const Out& out, const Out& bound) const {
  const Sizes x = in.x.sizes, y = out.y.sizes;
  for (int64_t n = 0; n < y[0]; n++)
    for (int64_t oh = 0; oh < y[1]; oh++)
      for (int64_t ow = 0; ow < y[2]; ow++)
        for (int64_t c = 0; c < y[3]; c++) {
          double sum = 0, magnitude = 0;
          int64_t inside = 0;
          for (int kh = 0; kh < kernel.h; kh++)
            for (int kw = 0; kw < kernel.w; kw++) {
              const int64_t h = oh * stride.h - padding.h + kh, w = ow * stride.w - padding.w + kw;
              if (h < 0 || h >= x[1] || w < 0 || w >= x[2]) continue;
              const double v = in.x.at<double>(n, h, w, c);
              sum += v, magnitude += std::fabs(v), inside++;
            }
          const double count = double(count_include_pad ? int64_t{kernel.h} * kernel.w : inside);
          out.y.at<double>(n, oh, ow, c) = sum / count;
          bound.y.at<double>(n, oh, ow, c) = chain_depth(inside) * magnitude / count + std::fabs(sum / count);
        }
}

}  // namespace dr
