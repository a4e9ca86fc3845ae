#include <cmath>

#include "kernels/batch_norm_running/batch_norm_running.h"

namespace dr {

void BatchNormRunning::reference(const In& in, const Out& out, const Out& bound) const {
  const double m = double(momentum);
  auto run = [&](const View& state, const View& leaves, double factor, double factor_error, const View& to,
                 const View& error_of) {
    for (int64_t c = 0; c < state.size(0); c++) {
      double v = state.at<double>(c), error = 0;
      for (int64_t l = 0; l < leaves.size(0); l++) {
        const double target = leaves.at<double>(l, c) * factor, difference = target - v;
        v += m * difference;
        // What was wrong shrinks; the product, the difference and the fma round.
        error = (1 - m) * error + m * (factor_error * std::fabs(target) + std::fabs(difference)) + std::fabs(v);
      }
      to.at<double>(c) = v;
      error_of.at<double>(c) = error * (1 + 0x1p-20);  // second order in u
    }
  };
  run(in.mean, in.leaf_mean, 1, 0, out.mean, bound.mean);
  // The quotient, its operands as floats, and the product.
  run(in.variance, in.leaf_variance, double(count) / double(count - 1), 4, out.variance, bound.variance);
}

}  // namespace dr
