#include <cmath>

#include "kernels/linear_gated_residual/linear_gated_residual.h"

namespace dr {

void LinearGatedResidual::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t inner = in.weight.size(1), cols = in.weight.size(0),
                rows = out.y.sizes.count() / std::max<int64_t>(cols, 1);
  const double *x = in.x.as<double>(), *w = in.weight.as<double>(), *residual = in.residual.as<double>();
  for (int64_t i = 0; i < rows * cols; i++) {
    const int64_t r = i / cols, n = i % cols, frame = r / (rows / in.gate.size(0));
    double h = in.bias ? in.bias.at<double>(n) : 0, magnitude = std::fabs(h);
    for (int64_t k = 0; k < inner; k++) {
      h += x[r * inner + k] * w[n * inner + k];
      magnitude += std::fabs(x[r * inner + k] * w[n * inner + k]);
    }
    const double h_error = (chain_depth(inner) + 1) * magnitude,
                 gate = in.gate.at<double>(frame, n);  // the bias rounds once
    if (out.h) out.h.as<double>()[i] = h, bound.h.as<double>()[i] = h_error;
    out.y.as<double>()[i] = gate * h + residual[i];
    // What h carries, and one rounding of the result.
    bound.y.as<double>()[i] = std::fabs(gate) * (h_error + std::fabs(h)) + std::fabs(residual[i]);
  }
}

}  // namespace dr
