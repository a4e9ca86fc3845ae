#include <cmath>

#include "kernels/flow_loss/flow_loss.h"

namespace dr {

void FlowLoss::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t rows = in.pred.size(0), cols = rows ? in.pred.count() / rows : 0;
  // Roundings that one square meets on its way: along its lane, five of the butterfly, one per level of the tree.
  double depth = double((cols < kBlock ? cols : kBlock) + 31) / 32 + 5;
  for (int64_t blocks = (cols + kBlock - 1) / kBlock; blocks > 1; blocks = (blocks + 1) / 2) depth++;
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
