#include <cmath>
#include <numbers>

#include "kernels/gelu/gelu.h"

namespace dr {

namespace {

// tanh form, s = 1 / (1 + exp(-z)): y's relative error is (1 - s) times that of exp(-z), and 2 for the sum and the
// division.
// z takes x^2, an fma, a product and the roundings of a and b: 4 |z|; exp turns it into 4 |z| relative and rounds once.
// Where exp(-z) exceeds the largest f32, that is x < -10.05 and |y| < 2^-124, y may be -0.
void tanh_form(double x, double& y, double& bound) {
  const double z = 2 * std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
  const double e = std::exp(-z);
  y = std::isinf(e) ? 0 : x / (1 + e);
  const bool overflow = e > 0x1p128 * (1 - 0x1p-12);
  bound = std::fabs(y) * (overflow ? 0x1p24 : e / (1 + e) * (4 * std::fabs(z) + 1) + 2);
}

// erf form: erf is a piecewise polynomial c0 + t (c1 + ...) with c0 and c1 t at most 2 and 1 times the result e (in
// the piece next to zero; in the one at zero c0 = 0). c0 is rounded once; c1, its sum and the next terms take 3 of
// |c1 t|; the last fma 1 of e: 6 |e| in all. Then y's fma rounds once.
void erf_form(double x, double& y, double& bound) {
  const double w = x / std::numbers::sqrt2, t = std::erf(w);
  y = 0.5 * x * std::erfc(-w);
  bound = 3 * std::fabs(x * t) + std::fabs(y);
}

}  // namespace

void Gelu::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t rows = in.x.size(0), cols = rows ? in.x.count() / rows : 0;
  const double* x = in.x.as<double>();
  double *y = out.y.as<double>(), *b = bound.y.as<double>();
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < cols; c++) {
      const int64_t o = r * out.y.stride(0) + c;
      (kind == GeluKind::tanh ? tanh_form : erf_form)(x[r * in.x.stride(0) + c], y[o], b[r * bound.y.stride(0) + c]);
    }
}

}  // namespace dr
