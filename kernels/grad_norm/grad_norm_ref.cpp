#include <algorithm>

#include "kernels/grad_norm/grad_norm.h"

namespace dr {

void GradNorm::reference(const In& in, const Out& out, const Out& bound) const {
  const double* grad = in.grad.as<double>();
  for (int64_t b = 0; b < blocks(in.grad.count()); b++) {
    const int64_t end = std::min((b + 1) * kBlock, in.grad.count());
    double sum = 0;
    for (int64_t i = b * kBlock; i < end; i++) sum += grad[i] * grad[i];
    out.sums.at<double>(b) = sum;
    // A square goes through a lane's chain of fmas and five levels of the butterfly; every term is positive.
    bound.sums.at<double>(b) = (double((end - b * kBlock + 31) / 32) + 5) * sum;
  }
}

}  // namespace dr
