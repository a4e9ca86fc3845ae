#include <algorithm>
#include <cmath>

#include "kernels/clip_scale/clip_scale.h"

namespace dr {

void ClipScale::reference(const In& in, const Out& out, const Out& bound) const {
  double sum = 0;
  for (int64_t b = 0; b < in.sums.count(); b++) sum += in.sums.at<double>(b);
  const double depth = std::ceil(std::log2(std::max<double>(1, double(in.sums.count()))));
  const double factor = in.factor ? in.factor.at<double>(0) : 1;

  // Half the tree's relative error, the root and the product; then the sum with 1e-6 and the division.
  const double norm = factor * std::sqrt(sum), norm_k = 0.5 * depth + 2;
  const double ratio = in.max_norm.at<double>(0) / (norm + double(kTiny)), ratio_k = norm_k + 2;
  // Where ratio is 1 up to its error either branch may be taken, and min(1, .) spreads no error.
  const bool surely_unclipped = ratio * (1 - ratio_k * 0x1p-24) > 1;
  const double scale = factor * std::min(1.0, ratio);
  out.norm.at<double>(0) = norm, bound.norm.at<double>(0) = norm_k * norm;
  out.scale.at<double>(0) = scale;
  bound.scale.at<double>(0) = std::fabs(scale) * (1 + (surely_unclipped ? 0 : ratio_k));
}

}  // namespace dr
