#include <cmath>

#include "kernels/batch_norm/batch_norm.h"

namespace dr {

void BatchNorm::reference(const In& in, const Out& out, const Out& bound) const {
  const Sizes s = in.x.sizes;
  const bool running = statistics == Statistics::running;
  const int64_t leaf = unit_samples(), units = s[0] / leaf;
  const double count = double(leaf * s[1] * s[2]), u = 0x1p-24;
  const double depth = geometry(in.x, leaf).depth();  // additions that one term of a sum over a leaf goes through
  for (int64_t l = 0; l < units; l++)
    for (int64_t c = 0; c < s[3]; c++) {
      auto each = [&](auto&& f) {
        for (int64_t n = l * leaf; n < (l + 1) * leaf; n++)
          for (int64_t h = 0; h < s[1]; h++)
            for (int64_t w = 0; w < s[2]; w++) f(n, h, w, in.x.at<double>(n, h, w, c));
      };
      const double weight = in.weight.at<double>(c), bias = in.bias.at<double>(c);
      if (running) {
        const double mean = in.running_mean.at<double>(c);
        const double scale = weight / std::sqrt(in.running_variance.at<double>(c) + double(eps));
        each([&](int64_t n, int64_t h, int64_t w, double x) {
          out.y.at<double>(n, h, w, c) = (x - mean) * scale + bias;
          // scale: the sum with eps (half of which reaches the root), the root, the product; shift and y round once more.
          bound.y.at<double>(n, h, w, c) =
              2.5 * (std::fabs(x) + std::fabs(mean)) * std::fabs(scale) + std::fabs(bias - mean * scale) +
              std::fabs((x - mean) * scale + bias);
        });
        continue;
      }
      double sum = 0, magnitude = 0, largest = 0, square = 0, drift = 0;
      each([&](auto, auto, auto, double x) {
        sum += x, magnitude += std::fabs(x), largest = std::max(largest, std::fabs(x));
      });
      const double mean = sum / count, mean_error = depth * magnitude / count + std::fabs(mean);
      each([&](auto, auto, auto, double x) { square += (x - mean) * (x - mean), drift += std::fabs(x - mean); });
      // As for group_norm_silu, whose reference derives it.
      const double variance = square / count, padded = variance + double(eps);
      const double offset = (depth + 1) * largest + mean_error;
      const double variance_error = (depth + 8) * variance + 2 * drift / count * offset + 3 * u * offset * offset;
      const double rstd = 1 / std::sqrt(padded);
      const double rstd_error = rstd * (0.5 * (variance_error + padded) / padded + 1);
      out.mean.at<double>(l, c) = mean, bound.mean.at<double>(l, c) = mean_error;
      out.variance.at<double>(l, c) = variance, bound.variance.at<double>(l, c) = variance_error;
      each([&](int64_t n, int64_t h, int64_t w, double x) {
        const double d = x - mean, xhat = d * rstd, y = xhat * weight + bias;
        const double xhat_error = (mean_error + std::fabs(d)) * rstd + std::fabs(d) * rstd_error + std::fabs(xhat);
        out.y.at<double>(n, h, w, c) = y;
        bound.y.at<double>(n, h, w, c) = xhat_error * std::fabs(weight) + std::fabs(y);
      });
    }
}

}  // namespace dr
