#pragma once
// The softmax of a row in double with the errors of the f32 form in units of u, for the references of ops built on it.

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/core/row_blocks.h"

namespace dr {

class ReferenceSoftmax {
 public:
  double max, den = 0, den_error = 0, log_den, log_den_error;

  // x(c) for the classes.
  template <class At>
  ReferenceSoftmax(int64_t classes, At&& x) : max(x(0)), below_(size_t(classes)) {
    for (int64_t c = 1; c < classes; c++) max = std::fmax(max, x(c));
    for (int64_t c = 0; c < classes; c++) {
      below_[size_t(c)] = max - x(c);
      const double e = exp(c);
      den += e;
      // exp(x - max) is off by the rounding of x - max, which is relative to it, and by its own; then the row's sum.
      if (e > 0) den_error += e * (below(c) + 1 + row_depth(classes)) * kSecondOrder;
    }
    log_den = std::log(den);
    log_den_error = den_error / den + log_den;
  }

  double below(int64_t c) const { return below_[size_t(c)]; }
  double exp(int64_t c) const { return std::exp(-below(c)); }
  double p(int64_t c) const { return exp(c) / den; }
  double p_error(int64_t c) const {  // relative; the quotient rounds too
    return exp(c) > 0 ? (below(c) + 1 + den_error / den + 1) * kSecondOrder : 0;
  }
  double nll(int64_t c) const { return log_den + below(c); }
  double nll_error(int64_t c) const { return log_den_error + below(c) + nll(c); }

 private:
  static constexpr double kSecondOrder = 1 + 0x1p-16;  // exp(104 u) and the like
  std::vector<double> below_;
};

}  // namespace dr
