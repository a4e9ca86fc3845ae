#include <cmath>

#include "kernels/flow_loss/flow_loss.h"

namespace dr {

void FlowLoss::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t rows = in.pred.size(0), cols = rows ? in.pred.count() / rows : 0;
  const double depth = row_depth(cols);
  for (int64_t r = 0; r < rows; r++) {
    const double w = in.weight ? in.weight.at<double>(r) : 1;
    double sum = 0;
    for (int64_t i = r * cols; i < (r + 1) * cols; i++) {
      const double d = in.pred.as<double>()[i] - in.target.as<double>()[i];
      sum += d * d;
    }
    out.loss.at<double>(r) = w * sum;
    bound.loss.at<double>(r) = (depth + 2 + 1) * std::fabs(w) * sum;  // 2: each d rounds and is squared; 1: the weight
  }
}

}  // namespace dr
