#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/attention_decode/attention_decode.h"

namespace dr {

// The bound is attention's (kernels/attention/attention_ref.cpp): a score is off by e = (D + 1) |scale| sum_d |q k|; p
// by a factor of exp of e + |s - m| + 1, of its mean over the keys, and of the roundings of den and of the division; y
// adds one rounding per step of its chain.
void AttentionDecode::reference(const In& in, const Out& out, const Out& bound) const {
  const double u = 0x1p-24, tiny = 0x1p-149 / u;
  const int64_t batch = in.q.size(0), tokens = in.q.size(1), heads = in.q.size(2), width = in.q.size(3);
  const double factor = double(scale_for(width));
  const int64_t frames = in.order.at<int32_t>(0), keys = frames * tokens;
  const double blocks = double(keys) / 4096;
  const double depth = std::ceil(std::min(double(keys), 4096.0) / 32) + 5 + std::ceil(std::log2(blocks + 1)) + 2;
  std::vector<double> score(static_cast<size_t>(keys)), error(score), p(score);
  for (int64_t b = 0; b < batch; b++)
    for (int64_t h = 0; h < heads; h++)
      for (int64_t i = 0; i < tokens; i++) {
        double max = -INFINITY, max_error = 0;
        for (int64_t n = 0; n < keys; n++) {
          const int64_t slot = in.order.at<int32_t>(1 + n / tokens);
          double s = 0, terms = 0;
          for (int64_t d = 0; d < width; d++) {
            const double t = in.q.at<double>(b, i, h, d) * in.k.at<double>(b, slot, n % tokens, h, d);
            s += t, terms += std::fabs(t);
          }
          score[size_t(n)] = factor * s;
          error[size_t(n)] = double(width + 1) * std::fabs(factor) * terms + tiny;
          max = std::max(max, factor * s);
          max_error = std::max(max_error, error[size_t(n)]);
        }
        double den = 0, spread = 0;
        for (size_t n = 0; n < score.size(); n++) {
          p[n] = std::exp(score[n] - max);
          error[n] += std::fabs(score[n] - max) + 1 + max_error;
          den += p[n];
          spread += p[n] * std::exp(error[n] * u);
        }
        const double common = std::log(spread / den) / u + depth;
        const double chain = std::min(double(keys), 512.0) + double(keys) / 512;
        for (size_t n = 0; n < score.size(); n++) {
          p[n] /= den;
          error[n] = std::min(p[n] * std::expm1((error[n] + common) * u) / u + 2 * tiny, 1 / u) + chain * p[n];
        }
        double* const y = &out.y.at<double>(b, i, h, 0);
        double* const y_error = &bound.y.at<double>(b, i, h, 0);
        for (int64_t d = 0; d < width; d++) y[d] = 0, y_error[d] = tiny * double(keys);
        for (int64_t n = 0; n < keys; n++) {
          const double* const v = &in.v.at<double>(b, in.order.at<int32_t>(1 + n / tokens), n % tokens, h, 0);
          const double w = p[size_t(n)], w_error = error[size_t(n)];
          for (int64_t d = 0; d < width; d++) y[d] += w * v[d], y_error[d] += w_error * std::fabs(v[d]);
        }
      }
}

}  // namespace dr
