#include <cmath>

#include "kernels/gated_residual/gated_residual.h"

namespace dr {

void GatedResidual::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t rows = in.h.size(0), cols = in.h.size(1), frames = in.gate.size(0);
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < cols; c++) {
      const double y = in.residual.at<double>(r, c) + in.gate.at<double>(r * frames / rows, c) * in.h.at<double>(r, c);
      out.y.at<double>(r, c) = y;
      bound.y.at<double>(r, c) = std::fabs(y);  // one rounding
    }
}

}  // namespace dr
