#include <cmath>

#include "kernels/grid_sample/grid_sample.h"

namespace dr {

namespace {

// A pixel coordinate is exact, or off by one rounding of its fma. Then fx and gx are off by at most that and one
// rounding each; a weight adds one, and each of the four steps of the chain one of what it holds: 2 (ex + ey) + 16 of
// the largest pixel nearby covers it. That reaches one pixel past the corners: the kernel may lie just past an edge.
struct Axis {
  double x, e;  // pixels; error in units of u
};

Axis axis(const GridSample& op, double g, double size) {
  Axis a{g, 0};
  if (op.coordinates != GridSample::Coordinates::pixels) {
    const bool corners = op.coordinates == GridSample::Coordinates::normalised_corners;
    a.x = corners ? (g + 1) / 2 * (size - 1) : ((g + 1) * size - 1) / 2;
    a.e = std::fabs(a.x);
  }
  if (op.padding == Padding::border) a.x = std::fmin(std::fmax(a.x, 0), size - 1);
  return a;
}

}  // namespace

void GridSample::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t height = in.x.size(1), width = in.x.size(2), channels = in.x.size(3);
  for (int64_t n = 0; n < in.x.size(0); n++)
    for (int64_t i = 0; i < in.grid.size(1); i++)
      for (int64_t j = 0; j < in.grid.size(2); j++) {
        const double gx = in.grid.at<double>(n, i, j, 0), gy = in.grid.at<double>(n, i, j, 1);
        double* const y = &out.y.at<double>(n, i, j, 0);
        double* const b = &bound.y.at<double>(n, i, j, 0);
        for (int64_t c = 0; c < channels; c++) y[c] = b[c] = 0;
        if (!std::isfinite(gx) || !std::isfinite(gy)) continue;
        const Axis ax = axis(*this, gx, double(width)), ay = axis(*this, gy, double(height));
        if (ax.x < -2 || ax.x > double(width) + 1 || ay.x < -2 || ay.x > double(height) + 1) continue;
        for (int64_t p = int64_t(std::floor(ay.x)) - 1; p <= int64_t(std::floor(ay.x)) + 2; p++)
          for (int64_t q = int64_t(std::floor(ax.x)) - 1; q <= int64_t(std::floor(ax.x)) + 2; q++) {
            if (p < 0 || p >= height || q < 0 || q >= width) continue;
            const double weight =
                std::fmax(0, 1 - std::fabs(ax.x - double(q))) * std::fmax(0, 1 - std::fabs(ay.x - double(p)));
            for (int64_t c = 0; c < channels; c++) {
              const double v = in.x.at<double>(n, p, q, c);
              y[c] += weight * v;
              b[c] = std::fmax(b[c], (2 * (ax.e + ay.e) + 16) * std::fabs(v));
            }
          }
      }
}

}  // namespace dr
