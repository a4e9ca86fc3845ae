#include <cmath>
#include <vector>

#include "kernels/categorical_kl/categorical_kl.h"
#include "kernels/cross_entropy/softmax_ref.h"

namespace dr {

namespace {

// A group in double, and the errors of the f32 form in units of u.
struct Mixture {
  ReferenceSoftmax softmax;
  double own, uniform;

  double s(int64_t c) const { return softmax.p(c); }
  double p(int64_t c) const { return own * s(c) + uniform; }
  // Relative: the softmax's, its weight, the uniform part, and the fma.
  double p_error(int64_t c) const {
    return p(c) > 0 ? (own * s(c) * (softmax.p_error(c) + (uniform > 0)) + uniform) / p(c) + (uniform > 0) : 0;
  }
  double log_p(int64_t c) const { return uniform > 0 ? std::log(p(c)) : -softmax.nll(c); }
  double log_error(int64_t c) const { return uniform > 0 ? p_error(c) + std::fabs(log_p(c)) : softmax.nll_error(c); }
};

Mixture mixture(const View& logits, int64_t r, int64_t g, float unimix) {
  const int64_t classes = logits.size(2);
  auto x = [&](int64_t c) -> double {
    switch (logits.dtype) {
      case DType::f32: return logits.at<float>(r, g, c);
      case DType::bf16: return widen(logits.at<bf16>(r, g, c));
      default: return logits.at<double>(r, g, c);
    }
  };
  return {ReferenceSoftmax(classes, x), 1 - double(unimix), double(unimix) / double(classes)};
}

}  // namespace

void CategoricalKl::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t groups = in.p.size(1), classes = in.p.size(2);
  for (int64_t r = 0; r < in.p.size(0); r++) {
    double kl = 0, error = 0;
    for (int64_t g = 0; g < groups; g++) {
      const Mixture p = mixture(in.p, r, g, unimix), q = mixture(in.q, r, g, unimix);
      for (int64_t c = 0; c < classes; c++) {
        if (p.p(c) == 0) continue;
        const double ratio = p.log_p(c) - q.log_p(c), term = p.p(c) * ratio;
        kl += term;
        error += p.p(c) * (p.log_error(c) + q.log_error(c)) +
                 std::fabs(term) * (1 + p.p_error(c) + row_depth(classes) + row_depth(groups));
      }
    }
    out.kl.at<double>(r) = kl, bound.kl.at<double>(r) = std::isinf(kl) ? 0 : error;
    out.loss.at<double>(r) = std::fmax(kl, double(free_nats)), bound.loss.at<double>(r) = bound.kl.at<double>(r);
  }
}

// The largest error of a gradient's element relative to what the harness compares it with: its own magnitude and a
// sixteenth of the tensor's mean. dloss, which weighs the rows, is taken to be at most four times its mean.
double CategoricalKl::gradient_k(const In& in) const {
  const int64_t groups = in.p.size(1), classes = in.p.size(2);
  struct Element {
    double size, error;
  };
  std::vector<Element> elements[2];
  for (int64_t r = 0; r < in.p.size(0); r++)
    for (int64_t g = 0; g < groups; g++) {
      const Mixture p = mixture(in.p, r, g, unimix), q = mixture(in.q, r, g, unimix);
      auto ratio = [&](int64_t c) { return p.log_p(c) - q.log_p(c); };
      auto ratio_error = [&](int64_t c) { return p.log_error(c) + q.log_error(c) + std::fabs(ratio(c)); };
      auto flow = [&](int64_t c) { return p.p(c) * p.own * q.s(c) / q.p(c); };
      auto flow_error = [&](int64_t c) {  // of P, t, Q; the weight, two products, the quotient
        return flow(c) * (p.p_error(c) + q.softmax.p_error(c) + q.p_error(c) + 4);
      };
      double mean = 0, mean_error = 0, sum = 0, sum_error = 0;
      for (int64_t c = 0; c < classes; c++) {
        mean += p.s(c) * ratio(c);
        mean_error += p.s(c) * (ratio_error(c) + std::fabs(ratio(c)) * (p.softmax.p_error(c) + row_depth(classes)));
        sum += flow(c);
        sum_error += flow_error(c) + flow(c) * row_depth(classes);
      }
      for (int64_t c = 0; c < classes; c++) {
        const double dp = p.own * p.s(c) * std::fabs(ratio(c) - mean), dq = std::fabs(q.s(c) * sum - flow(c));
        elements[0].push_back({dp, p.own * p.s(c) * (ratio_error(c) + mean_error) + dp * (p.softmax.p_error(c) + 5)});
        elements[1].push_back(
            {dq, q.s(c) * (sum_error + sum * q.softmax.p_error(c)) + flow_error(c) + 2 * dq});
      }
    }
  double k = 0;
  for (const auto& list : elements) {
    double mean = 0;
    for (const Element& e : list) mean += e.size / double(list.size());
    for (const Element& e : list) k = std::fmax(k, e.error / (e.size + mean / 16 / 4));
  }
  return k;
}

}  // namespace dr
