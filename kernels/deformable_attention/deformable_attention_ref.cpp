#include <cmath>

#include "kernels/deformable_attention/deformable_attention.h"

namespace dr {

// A coordinate is off by one rounding, e = |x|. A sample is then off by 2 (ex + ey) + 16 of the largest pixel nearby,
// as in grid_sample (kernels/grid_sample/grid_sample_ref.cpp), and y by that times the weight and by a rounding of what
// it holds for each of its L P steps.
void DeformableAttention::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t heads = in.value.size(2), width = in.value.size(3), points = in.locations.size(4);
  const double steps = double(in.locations.size(3) * points);
  std::vector<double> sample(static_cast<size_t>(width)), largest(sample);
  for (int64_t n = 0; n < in.value.size(0); n++)
    for (int64_t q = 0; q < in.locations.size(1); q++)
      for (int64_t h = 0; h < heads; h++) {
        double* const y = &out.y.at<double>(n, q, h * width);
        double* const b = &bound.y.at<double>(n, q, h * width);
        for (int64_t d = 0; d < width; d++) y[d] = b[d] = 0;
        int64_t origin = 0;
        for (int64_t l = 0; l < in.locations.size(3); l++) {
          const int64_t rows = levels[size_t(l)].height, columns = levels[size_t(l)].width;
          for (int64_t p = 0; p < points; p++) {
            const double x = in.locations.at<double>(n, q, h, l, p, 0) * double(columns) - 0.5;
            const double z = in.locations.at<double>(n, q, h, l, p, 1) * double(rows) - 0.5;
            const double weight = in.weights.at<double>(n, q, h, l, p);
            if (!(std::fabs(x) < 1e6 && std::fabs(z) < 1e6)) continue;  // far outside, or not a number
            for (int64_t d = 0; d < width; d++) sample[size_t(d)] = largest[size_t(d)] = 0;
            for (int64_t r = int64_t(std::floor(z)) - 1; r <= int64_t(std::floor(z)) + 2; r++)
              for (int64_t c = int64_t(std::floor(x)) - 1; c <= int64_t(std::floor(x)) + 2; c++) {
                if (r < 0 || r >= rows || c < 0 || c >= columns) continue;
                const double wx = std::fmax(0, 1 - std::fabs(x - double(c))),
                             w = wx * std::fmax(0, 1 - std::fabs(z - double(r)));
                for (int64_t d = 0; d < width; d++) {
                  const double v = in.value.at<double>(n, origin + r * columns + c, h, d);
                  sample[size_t(d)] += w * v;
                  largest[size_t(d)] = std::fmax(largest[size_t(d)], std::fabs(v));
                }
              }
            for (int64_t d = 0; d < width; d++) {
              y[d] += weight * sample[size_t(d)];
              b[d] += std::fabs(weight) * (steps + 2 * (std::fabs(x) + std::fabs(z)) + 16) * largest[size_t(d)];
            }
          }
          origin += rows * columns;
        }
      }
}

}  // namespace dr
