#include <cmath>
#include <vector>

#include "kernels/adaln_linear/adaln_linear.h"

namespace dr {

// The rows are those of AdaLN's reference with its bounds; a product carries the error of each element, weighted, and
// that of its own chain.
void AdaLNLinear::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t rows = in.x.size(0), inner = in.x.size(1), cols = in.weight.size(0);
  std::vector<double> value(size_t(rows * inner)), error(value.size());
  const View a(value.data(), DType::f64, in.x.sizes), a_error(error.data(), DType::f64, in.x.sizes);
  adaln().reference(adaln_in(in), {a, out.mean, out.rstd}, {a_error, bound.mean, bound.rstd});
  for (int64_t r = 0; r < rows; r++)
    for (int64_t n = 0; n < cols; n++) {
      double y = in.bias ? in.bias.at<double>(n) : 0, magnitude = std::fabs(y), carried = 0;
      for (int64_t k = 0; k < inner; k++) {
        const double w = in.weight.at<double>(n, k), term = value[size_t(r * inner + k)] * w;
        y += term, magnitude += std::fabs(term), carried += std::fabs(w) * error[size_t(r * inner + k)];
      }
      out.y.at<double>(r, n) = y;
      bound.y.at<double>(r, n) = carried + (chain_depth(inner) + 1) * magnitude;  // one more rounding: the bias
    }
}

}  // namespace dr
