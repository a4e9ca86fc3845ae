#include <cmath>

#include "kernels/cumsum/cumsum.h"

namespace dr {

void CumSum::reference(const In& in, const Out& out, const Out& bound) const {
  int64_t step = 1;
  for (int i = axis_of(in.x) + 1; i < in.x.rank(); i++) step *= in.x.size(i);
  const int64_t n = in.x.size(axis_of(in.x));
  const double* x = in.x.as<double>();
  for (int64_t e = 0; e < in.x.count(); e++) {
    double sum = 0, magnitude = 0;
    const int64_t i = e / step % n;
    for (int64_t j = 0; j <= i; j++) sum += x[e - j * step], magnitude += std::fabs(x[e - j * step]);
    out.y.as<double>()[e] = sum;
    bound.y.as<double>()[e] = double(i) * magnitude;  // i additions
  }
}

}  // namespace dr
