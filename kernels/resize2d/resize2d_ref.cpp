#include <algorithm>
#include <cmath>

#include "kernels/resize2d/resize2d.h"

namespace dr {

void Resize2d::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t h = in.x.size(1), w = in.x.size(2);
  auto nearest = [](int64_t o, int64_t size, int64_t outputs) {  // the last pixel that begins at or before o's centre
    int64_t i = 0;
    while (2 * (i + 1) * outputs <= (2 * o + 1) * size) i++;
    return i;
  };
  auto position = [](int64_t o, int64_t size, int64_t outputs) {
    return std::max(0.0, (double(o) + 0.5) * double(size) / double(outputs) - 0.5);
  };
  for (int64_t n = 0; n < in.x.size(0); n++)
    for (int64_t oh = 0; oh < out_h; oh++)
      for (int64_t ow = 0; ow < out_w; ow++)
        for (int64_t c = 0; c < in.x.size(3); c++) {
          double &y = out.y.at<double>(n, oh, ow, c), &k = bound.y.at<double>(n, oh, ow, c);
          if (interpolation == Interpolation::nearest) {
            y = in.x.at<double>(n, nearest(oh, h, out_h), nearest(ow, w, out_w), c), k = 0;
            continue;
          }
          const double sy = position(oh, h, out_h), sx = position(ow, w, out_w);
          const int64_t i = std::min(int64_t(sy), h - 1), j = std::min(int64_t(sx), w - 1);
          const double fy = sy - double(i), fx = sx - double(j);
          auto column = [&](int64_t col) {  // value and error of the first lerp: the weight, the difference, the fma
            const double a = in.x.at<double>(n, i, col, c), b = in.x.at<double>(n, std::min(i + 1, h - 1), col, c);
            const double v = (1 - fy) * a + fy * b;
            return std::pair{v, 2 * std::fabs(fy * (b - a)) + std::fabs(v)};
          };
          const auto [left, left_error] = column(j);
          const auto [right, right_error] = column(std::min(j + 1, w - 1));
          y = (1 - fx) * left + fx * right;
          // The second lerp on top of the errors of what it takes; second order in u is below 2^-20 of the first. The
          // last term: positions in double are off by a few 2^-53 of their size.
          k = ((1 - fx) * left_error + fx * right_error + 2 * std::fabs(fx * (right - left)) + std::fabs(y)) *
                  (1 + 0x1p-20) +
              0x1p-20 * (std::fabs(left) + std::fabs(right));
        }
}

}  // namespace dr
