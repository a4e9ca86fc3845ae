#include <cmath>

#include "kernels/group_norm_silu/group_norm_silu.h"

namespace dr {

void GroupNormSilu::reference(const In& in, const Out& out, const Out& bound) const {
  const Sizes s = in.x.sizes;
  const int64_t width = s[3] / groups;
  const double count = double(s[1] * s[2] * width), u = 0x1p-24;
  const double depth = geometry(in.x).depth();  // additions that one term of a sum over a group goes through
  for (int64_t n = 0; n < s[0]; n++)
    for (int64_t g = 0; g < groups; g++) {
      auto each = [&](auto&& f) {
        for (int64_t h = 0; h < s[1]; h++)
          for (int64_t w = 0; w < s[2]; w++)
            for (int64_t c = g * width; c < (g + 1) * width; c++) f(h, w, c, in.x.at<double>(n, h, w, c));
      };
      double sum = 0, magnitude = 0, largest = 0, square = 0, drift = 0;
      each([&](auto, auto, auto, double x) {
        sum += x, magnitude += std::fabs(x), largest = std::max(largest, std::fabs(x));
      });
      const double mean = sum / count, mean_error = depth * magnitude / count + std::fabs(mean);
      each([&](auto, auto, auto, double x) { square += (x - mean) * (x - mean), drift += std::fabs(x - mean); });
      // A cell of k terms with mean m contributes sum (x - m')^2 + k (m' - mean')^2 where the computed means are
      // m' = m + e and mean' = mean + E. That exceeds its sum (x - mean)^2 by k (e^2 + 2 (m - mean) (e - E) + (e - E)^2),
      // and the cells' k |m - mean| add up to at most sum |x - mean|. To this come a term's own roundings: the
      // difference counts twice in its square, and the square is added up; then those of k d d.
      const double variance = square / count, padded = variance + double(eps);
      const double offset = (depth + 1) * largest + mean_error;  // at least |e| + |E|
      const double variance_error = (depth + 8) * variance + 2 * drift / count * offset + 3 * u * offset * offset + padded;
      const double rstd = 1 / std::sqrt(padded);
      const double rstd_error = rstd * (0.5 * variance_error / padded + 1);
      out.mean.at<double>(n, g) = mean, bound.mean.at<double>(n, g) = mean_error;
      out.rstd.at<double>(n, g) = rstd, bound.rstd.at<double>(n, g) = rstd_error;
      each([&](int64_t h, int64_t w, int64_t c, double x) {
        const double d = x - mean, xhat = d * rstd, weight = in.weight.at<double>(c);
        const double xhat_error = (mean_error + std::fabs(d)) * rstd + std::fabs(d) * rstd_error + std::fabs(xhat);
        const double z = xhat * weight + in.bias.at<double>(c);
        const double z_error = xhat_error * std::fabs(weight) + std::fabs(z);
        // |d SiLU / dz| <= 1.1; the sigmoid is 3 roundings, the product one.
        const double y = silu ? z / (1 + std::exp(-z)) : z;
        out.y.at<double>(n, h, w, c) = y;
        bound.y.at<double>(n, h, w, c) = silu ? 1.1 * z_error + 4 * std::fabs(y) : z_error;
      });
    }
}

}  // namespace dr
