#include <cmath>

#include "kernels/squeeze_excite/squeeze_excite.h"

namespace dr {

void SqueezeExcite::reference(const In& in, const Out& out, const Out& bound) const {
  const Sizes x = in.x.sizes;
  const int64_t width = in.reduce.size(0);
  const double count = double(x[1] * x[2]);
  for (int64_t n = 0; n < x[0]; n++) {
    for (int64_t c = 0; c < x[3]; c++) {
      double sum = 0, magnitude = 0;
      for (int64_t h = 0; h < x[1]; h++)
        for (int64_t w = 0; w < x[2]; w++) {
          const double v = in.x.at<double>(n, h, w, c);
          sum += v, magnitude += std::fabs(v);
        }
      out.squeeze.at<double>(n, c) = sum / count;
      bound.squeeze.at<double>(n, c) = chain_depth(int64_t(count)) * magnitude / count + std::fabs(sum / count);
    }
    // One layer: the product's own roundings, what its input brings along, and the bias.
    auto layer = [n](const View& from, const View& from_error, const View& weight, const View& bias, int64_t row,
                     int64_t terms) {
      double sum = bias.at<double>(row), error = 0;
      for (int64_t k = 0; k < terms; k++) {
        const double w = weight.at<double>(row, k), v = from.at<double>(n, k);
        sum += w * v;
        error += std::fabs(w) * (chain_depth(terms) * std::fabs(v) + from_error.at<double>(n, k));
      }
      return std::pair{sum, error + std::fabs(sum)};
    };
    for (int64_t r = 0; r < width; r++) {
      const auto [v, error] = layer(out.squeeze, bound.squeeze, in.reduce, in.reduce_bias, r, x[3]);
      out.hidden.at<double>(n, r) = v < 0 ? 0 : v;
      bound.hidden.at<double>(n, r) = error;
    }
    for (int64_t c = 0; c < x[3]; c++) {
      const auto [v, error] = layer(out.hidden, bound.hidden, in.expand, in.expand_bias, c, width);
      const double gate = 1 / (1 + std::exp(-v));
      // The sigmoid rises by a quarter at most, and has three roundings of its own.
      const double gate_error = error / 4 + 3 * gate;
      out.gate.at<double>(n, c) = gate;
      bound.gate.at<double>(n, c) = gate_error;
      for (int64_t h = 0; h < x[1]; h++)
        for (int64_t w = 0; w < x[2]; w++) {
          const double value = in.x.at<double>(n, h, w, c);
          out.y.at<double>(n, h, w, c) = value * gate;
          bound.y.at<double>(n, h, w, c) = std::fabs(value) * (gate_error + gate);
        }
    }
  }
}

}  // namespace dr
