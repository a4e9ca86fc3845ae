#include <cmath>

#include "kernels/cumsum/cumsum.h"

namespace dr {

void CumSum::reference(const In& in, const Out& out, const Out& bound) const {
  const int a = axis < 0 ? axis + in.x.rank() : axis;
  const int64_t n = in.x.size(a);
  int64_t inner = 1;
  for (int i = a + 1; i < in.x.rank(); i++) inner *= in.x.size(i);
  for (int64_t e = 0; e < in.x.count(); e++) {
    const int64_t i = e / inner % n, first = e - i * inner;
    double sum = 0, magnitude = 0;
    for (int64_t j = reverse ? i : 0; j < (reverse ? n : i + 1); j++) {
      sum += in.x.as<double>()[first + j * inner];
      magnitude += std::fabs(in.x.as<double>()[first + j * inner]);
    }
    out.y.as<double>()[e] = sum;
    bound.y.as<double>()[e] = double(reverse ? n - i : i + 1) * magnitude;  // each addition rounds once
  }
}

}  // namespace dr
