#include <cmath>
#include <limits>

#include "kernels/categorical/categorical.h"
#include "kernels/cross_entropy/softmax_ref.h"

namespace dr {

void Categorical::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t classes = in.logits.sizes[-1], count = in.logits.count() / classes;
  const double eps = double(unimix), inf = std::numeric_limits<double>::infinity();
  for (int64_t d = 0; d < count; d++) {
    const double* x = in.logits.as<double>() + d * classes;
    double *probs = out.probs.as<double>() + d * classes, *bounds = bound.probs.as<double>() + d * classes;
    bool finite = true;
    double max = -inf;
    for (int64_t c = 0; c < classes; c++) finite &= x[c] < inf, max = std::fmax(max, x[c]);
    finite &= max > -inf;

    int64_t index = -1, last = 0;
    bool decided = true;
    if (finite) {
      const ReferenceSoftmax s(classes, [&](int64_t c) { return x[c]; });
      const double u = argmax ? 0 : double(uniform_below_one(random_bits(
                                         random_stream(in.rng.as<uint32_t>(), kReferenceOpId), uint64_t(d))));
      double sum = 0, sum_error = 0;
      for (int64_t c = 0; c < classes; c++) {
        probs[c] = (1 - eps) * s.p(c) + eps / double(classes);
        bounds[c] = (1 - eps) * s.p(c) * (s.p_error(c) + 1) + eps / double(classes) + probs[c];
        if (probs[c] > 0) last = c;
      }
      for (int64_t c = 0; c < classes && !argmax; c++) {
        sum += probs[c];
        sum_error += bounds[c] + sum;
        // Whether u lies below this sum may be rounding's doing, but past the last class there is nowhere else to go.
        decided &= c >= last || std::fabs(u - sum) > 0x1p-24 * sum_error;
        if (index < 0 && (u < sum || c == last)) index = c;
      }
      if (argmax) {
        index = 0;
        for (int64_t c = 1; c < classes; c++)
          if (x[c] > x[index] || (x[c] == x[index] && std::signbit(x[index]) && !std::signbit(x[c]))) index = c;
      }
    }
    out.index.as<int32_t>()[d] = int32_t(index);
    bound.index.as<double>()[d] = decided ? 0 : inf;
    for (int64_t c = 0; c < classes; c++) {
      const double nan = std::numeric_limits<double>::quiet_NaN();
      if (!finite) probs[c] = nan, bounds[c] = inf;
      out.sample.as<double>()[d * classes + c] = finite ? double(c == index) : nan;
      bound.sample.as<double>()[d * classes + c] = finite && decided ? 0 : inf;
    }
  }
}

}  // namespace dr
