#include <cmath>

#include "kernels/conv2d/conv2d.h"

namespace dr {

void Conv2d::reference(const In& in, const Out& out, const Out& bound) const {
  const Sizes x = in.x.sizes, w = in.weight.sizes, y = out.y.sizes;
  const int64_t outputs = w[0] / groups;
  for (int64_t n = 0; n < y[0]; n++)
    for (int64_t oh = 0; oh < y[1]; oh++)
      for (int64_t ow = 0; ow < y[2]; ow++)
        for (int64_t o = 0; o < y[3]; o++) {
          double sum = in.bias ? in.bias.at<double>(o) : 0, magnitude = std::fabs(sum);
          for (int64_t kh = 0; kh < w[1]; kh++)
            for (int64_t kw = 0; kw < w[2]; kw++) {
              const int64_t ih = oh * stride.h - padding.top + kh * dilation.h;
              const int64_t iw = ow * stride.w - padding.left + kw * dilation.w;
              if (ih < 0 || ih >= x[1] || iw < 0 || iw >= x[2]) continue;
              const double* pixel = &in.x.at<double>(n, ih, iw, o / outputs * w[3]);
              const double* filter = &in.weight.at<double>(o, kh, kw, 0);
              for (int64_t c = 0; c < w[3]; c++) {
                sum += pixel[c] * filter[c];
                magnitude += std::fabs(pixel[c] * filter[c]);
              }
            }
          out.y.at<double>(n, oh, ow, o) = sum;
          // One more rounding: the bias. Padding adds zeros, which round nothing.
          bound.y.at<double>(n, oh, ow, o) = (chain_depth(w[1] * w[2] * w[3]) + 1) * magnitude;
        }
}

}  // namespace dr
