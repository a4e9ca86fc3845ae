#include <cmath>

#include "kernels/matmul/matmul.h"

namespace dr {

void MatMul::reference(const In& in, const Out& out, const Out& bound) const {
  const int rank = in.a.rank();
  const int64_t rows = m(in), cols = n(in), inner = k(in);
  int64_t batch = 1;
  for (int axis = 0; axis < rank - 2; axis++) batch *= in.a.size(axis);
  // In a call of reference every View is packed.
  const double *a = in.a.as<double>(), *b = in.b.as<double>();
  double *y = out.y.as<double>(), *limit = bound.y.as<double>();
  for (int64_t i = 0; i < batch; i++, a += rows * inner, b += inner * cols)
    for (int64_t r = 0; r < rows; r++)
      for (int64_t c = 0; c < cols; c++) {
        double sum = 0, magnitude = 0;
        for (int64_t j = 0; j < inner; j++) {
          const double term =
              (trans_a ? a[j * rows + r] : a[r * inner + j]) * (trans_b ? b[c * inner + j] : b[j * cols + c]);
          sum += term;
          magnitude += std::fabs(term);
        }
        *y++ = sum;
        *limit++ = chain_depth(inner) * magnitude;
      }
}

}  // namespace dr
