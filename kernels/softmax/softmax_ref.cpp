#include <algorithm>
#include <cmath>

#include "kernels/softmax/softmax.h"

namespace dr {

void Softmax::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t cols = in.x.size(1);
  const double depth = double((std::min<int64_t>(cols, 4096) + 31) / 32) + 5 + double(cols > 4096);
  for (int64_t r = 0; r < in.x.size(0); r++) {
    double top = -INFINITY, sum = 0, error = 0;
    for (int64_t c = 0; c < cols; c++) top = std::max(top, in.x.at<double>(r, c));
    // x - max is rounded once: exp turns an error of |x - max| u into as much of itself; exp rounds once more.
    for (int64_t c = 0; c < cols; c++) {
      const double z = in.x.at<double>(r, c) - top, e = std::exp(z);
      sum += e, error += e * (std::fabs(z) + 1 + depth);
    }
    for (int64_t c = 0; c < cols; c++) {
      const double z = in.x.at<double>(r, c) - top, y = std::exp(z) / sum;
      out.y.at<double>(r, c) = y;
      // Below 2^-126 the exponential is subnormal, with a rounding of 2^-150.
      bound.y.at<double>(r, c) = y * (std::fabs(z) + 1 + error / sum + 1) + 0x1p-125;
    }
  }
}

}  // namespace dr
