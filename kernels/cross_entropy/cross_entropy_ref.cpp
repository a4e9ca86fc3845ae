#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/cross_entropy/softmax_ref.h"

namespace dr {

void CrossEntropy::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t classes = in.logits.size(1);
  for (int64_t r = 0; r < in.logits.size(0); r++) {
    const ReferenceSoftmax s(classes, [&](int64_t c) { return in.logits.at<double>(r, c); });
    double loss = 0, error = 0;
    if (in.target.dtype == DType::i32) {
      const int32_t t = in.target.at<int32_t>(r);
      if (t != ignore_index) loss = s.nll(t), error = s.nll_error(t);
    } else {
      for (int64_t c = 0; c < classes; c++) {
        const double t = in.target.at<double>(r, c);
        if (t == 0) continue;
        loss += t * s.nll(c);
        error += std::fabs(t) * (s.nll_error(c) + row_depth(classes) * s.nll(c));
      }
    }
    out.loss.at<double>(r) = loss, bound.loss.at<double>(r) = std::isinf(loss) ? 0 : error;
    out.max.at<double>(r) = s.max, bound.max.at<double>(r) = 0;
    out.den.at<double>(r) = s.den, bound.den.at<double>(r) = s.den_error;
  }
}

}  // namespace dr
