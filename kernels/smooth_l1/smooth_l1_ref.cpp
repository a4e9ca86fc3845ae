#include <cmath>

#include "kernels/smooth_l1/smooth_l1.h"

namespace dr {

void SmoothL1::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t rows = in.pred.size(0), cols = rows ? in.pred.count() / rows : 0;
  for (int64_t r = 0; r < rows; r++) {
    double sum = 0, error = 0;
    for (int64_t i = r * cols; i < (r + 1) * cols; i++) {
      const double w = in.weight ? in.weight.as<double>()[i] : 1;
      if (w == 0) continue;
      const double a = std::fabs(in.pred.as<double>()[i] - in.target.as<double>()[i]), b = double(beta);
      const double f = a < b ? a * a / (2 * b) : a - b / 2;
      sum += w * f;
      // Quadratic: d twice, its square, 1/beta, their product. Linear: a and the difference.
      error += std::fabs(w) * ((a < b ? 5 * f : a + std::fabs(f)) + row_depth(cols) * f);
    }
    out.loss.at<double>(r) = sum;
    bound.loss.at<double>(r) = error * (1 + 0x1p-20);  // second order
  }
}

}  // namespace dr
