#include <cmath>

#include "kernels/block_linear/block_linear.h"

namespace dr {

void BlockLinear::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t inner = in.x.size(2);
  for (int64_t r = 0; r < out.y.size(0); r++)
    for (int64_t g = 0; g < out.y.size(1); g++)
      for (int64_t o = 0; o < out.y.size(2); o++) {
        double sum = in.bias ? in.bias.at<double>(g, o) : 0, magnitude = std::fabs(sum);
        for (int64_t i = 0; i < inner; i++) {
          sum += in.x.at<double>(r, g, i) * in.weight.at<double>(g, o, i);
          magnitude += std::fabs(in.x.at<double>(r, g, i) * in.weight.at<double>(g, o, i));
        }
        out.y.at<double>(r, g, o) = sum;
        bound.y.at<double>(r, g, o) = (chain_depth(inner) + 1) * magnitude;  // one more rounding: the bias
      }
}

}  // namespace dr
