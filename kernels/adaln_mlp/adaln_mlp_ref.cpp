#include <cmath>
#include <vector>

#include "kernels/adaln_mlp/adaln_mlp.h"

namespace dr {

// Part by part in double, each with its own bound; what a part's input is off by is carried through it: weighted
// through a product, by GELU's slope, which stays below 1.13, and by the gate.
void AdaLNMlp::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t rows = in.x.size(0), channels = in.x.size(1), units = hidden(in);
  std::vector<double> value(size_t(rows * channels)), error(value.size());
  const View n(value.data(), DType::f64, in.x.sizes), n_error(error.data(), DType::f64, in.x.sizes);
  adaln().reference(adaln_in(in), {n, out.mean, out.rstd}, {n_error, bound.mean, bound.rstd});
  const double c = std::sqrt(2 / std::acos(-1.0));
  std::vector<double> a(static_cast<size_t>(units)), a_error(a.size());
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t j = 0; j < units; j++) {
      double z = in.up_bias ? in.up_bias.at<double>(j) : 0, magnitude = std::fabs(z), carried = 0;
      for (int64_t k = 0; k < channels; k++) {
        const double w = in.up.at<double>(j, k), term = n.at<double>(r, k) * w;
        z += term, magnitude += std::fabs(term), carried += std::fabs(w) * n_error.at<double>(r, k);
      }
      const double z_error = carried + (chain_depth(channels) + 1) * magnitude;  // one more rounding: the bias
      const double t = 2 * c * (z + 0.044715 * z * z * z), s = 1 / (1 + std::exp(-t));
      if (out.pre) out.pre.at<double>(r, j) = z, bound.pre.at<double>(r, j) = z_error;
      a[size_t(j)] = z * s;
      // t has six roundings and enters s with weight t (1 - s); exp, the sum and the division round once each.
      a_error[size_t(j)] = 1.13 * z_error + (z == 0 ? 0 : std::fabs(z * s)) * (4 + 6 * std::fabs(t) * (1 - s));
    }
    const int64_t frame = r / (rows / in.gate.size(0));
    for (int64_t i = 0; i < channels; i++) {
      double h = in.down_bias ? in.down_bias.at<double>(i) : 0, magnitude = std::fabs(h), carried = 0;
      for (int64_t j = 0; j < units; j++) {
        const double w = in.down.at<double>(i, j), term = a[size_t(j)] * w;
        h += term, magnitude += std::fabs(term), carried += std::fabs(w) * a_error[size_t(j)];
      }
      const double h_error = carried + (chain_depth(units) + 1) * magnitude, gate = in.gate.at<double>(frame, i);
      out.h.at<double>(r, i) = h, bound.h.at<double>(r, i) = h_error;
      out.y.at<double>(r, i) = gate * h + in.x.at<double>(r, i);
      bound.y.at<double>(r, i) = std::fabs(gate) * (h_error + std::fabs(h)) + std::fabs(in.x.at<double>(r, i));
    }
  }
}

}  // namespace dr
