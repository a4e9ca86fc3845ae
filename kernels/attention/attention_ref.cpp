#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/attention/attention.h"

namespace dr {

namespace {

// Whether a query of frame `q` sees a key of frame `k`, rule by rule.
bool sees(const FrameMask& mask, int64_t q, int64_t k, int64_t frames) {
  const int64_t first_noised = frames - mask.targets;
  if (q == k) return true;
  if (k >= first_noised) return false;                 // nobody else sees a noised copy
  if (q < mask.anchors) return k < q;                  // an anchor sees the anchors before it
  if (k < mask.anchors) return true;                   // every other frame sees every anchor
  const int64_t noised = q - first_noised;             // copy number, if q is one
  const int64_t original = noised < 0 ? q : first_noised - mask.targets + noised;
  const int64_t age = original - k;
  return age >= 1 && (mask.window < 0 || age <= mask.window);
}

}  // namespace

// u = 2^-24, and all errors below are in units of u. A score is a chain of D fused steps and one product: it is off by
// at most e = (D + 1) |scale| sum_d |q k|. The difference s - m adds one rounding of itself, exp one rounding of its
// value. Shifting by the maximum that was found cancels between exp and den, so p is off by a factor of at most
// exp((e_j + |s_j - m| + 1) u) * mean_p exp((e + |s - m| + 1) u) * (1 + u)^(depth + 1), depth the additions that a term
// of den goes through, and one division. y adds one rounding per step of its chain: at most 512, and one per chunk.
void Attention::reference(const In& in, const Out& out, const Out& bound) const {
  const double u = 0x1p-24, tiny = 0x1p-149 / u;
  const int64_t batch = in.q.size(0), length = in.q.size(1), heads = in.q.size(2), width = in.q.size(3);
  const int64_t tokens = mask.frame_tokens(length), frames = mask.frames(length);
  const double factor = double(scale_for(width));
  std::vector<int64_t> keys;
  std::vector<double> score, error, weight;
  for (int64_t b = 0; b < batch; b++)
    for (int64_t h = 0; h < heads; h++)
      for (int64_t i = 0; i < length; i++) {
        keys.clear(), score.clear(), error.clear(), weight.clear();
        for (int64_t j = 0; j < length; j++)
          if (sees(mask, i / tokens, j / tokens, frames)) keys.push_back(j);
        double max = -INFINITY, low = -INFINITY, high = -INFINITY;
        const double* const q = &in.q.at<double>(b, i, h, 0);
        for (int64_t j : keys) {
          const double* const k = &in.k.at<double>(b, j, h, 0);
          double s = 0, terms = 0;
          for (int64_t d = 0; d < width; d++) {
            const double t = q[d] * k[d];
            s += t, terms += std::fabs(t);
          }
          score.push_back(factor * s);
          error.push_back(double(width + 1) * std::fabs(factor) * terms + tiny);
          max = std::max(max, score.back());
          low = std::max(low, score.back() - error.back() * u), high = std::max(high, score.back() + error.back() * u);
        }
        const double max_error = std::max(max - low, high - max) / u;
        const double n = double(keys.size());
        const double depth = std::ceil(std::min(n, 4096.0) / 32) + 5 + std::ceil(std::log2(n / 4096 + 1));
        const double chain = std::min(n, 512.0) + n / 512;
        double den = 0, den_error = 0, spread = 0;
        for (size_t j = 0; j < keys.size(); j++) {
          weight.push_back(std::exp(score[j] - max));
          den += weight[j];
          const double own = error[j] + std::fabs(score[j] - max) + 1;
          den_error += weight[j] * (std::expm1((own + 2 * max_error) * u) / u + depth) + tiny;
          spread += weight[j] * std::exp((own + max_error) * u);
        }
        const double common = std::log(spread / den) / u + depth + 2;
        out.max.at<double>(b, h, i) = max, bound.max.at<double>(b, h, i) = max_error;
        out.den.at<double>(b, h, i) = den, bound.den.at<double>(b, h, i) = den_error;
        for (size_t j = 0; j < keys.size(); j++) {  // p, and its error with that of a step of y's chain
          const double p = weight[j] / den, own = error[j] + std::fabs(score[j] - max) + 1 + max_error;
          error[j] = std::min(p * std::expm1((own + common) * u) / u + 2 * tiny, 1 / u) + chain * p;
          weight[j] = p;
        }
        double* const y = &out.y.at<double>(b, i, h, 0);
        double* const y_error = &bound.y.at<double>(b, i, h, 0);
        for (int64_t d = 0; d < width; d++) y[d] = 0, y_error[d] = tiny * n;
        for (size_t j = 0; j < keys.size(); j++) {
          const double* const v = &in.v.at<double>(b, keys[j], h, 0);
          for (int64_t d = 0; d < width; d++) y[d] += weight[j] * v[d], y_error[d] += error[j] * std::fabs(v[d]);
        }
      }
}

// A score's error, as above, enters every p and so every ds and every gradient; its size takes the data: by Cauchy and
// Schwarz sum_d |q k| <= |q| |k|. To it come dp and delta (D steps each), den, and the chains over keys and queries.
// Sums over keys cancel inside the terms that the harness adds up, more so than in the errors: hence the 2.
double Attention::gradient_k(const In& in) const {
  auto largest_norm = [](const View& v) {
    double largest = 0;
    for (int64_t b = 0; b < v.size(0); b++)
      for (int64_t t = 0; t < v.size(1); t++)
        for (int64_t h = 0; h < v.size(2); h++) {
          double square = 0;
          for (int64_t d = 0; d < v.size(3); d++) {
            const float x = v.dtype == DType::bf16 ? widen(v.at<bf16>(b, t, h, d)) : v.at<float>(b, t, h, d);
            square += double(x) * double(x);
          }
          largest = std::max(largest, square);
        }
    return std::sqrt(largest);
  };
  const double width = double(in.q.size(3)), length = double(in.q.size(1));
  const double score = std::fabs(double(scale_for(in.q.size(3)))) * largest_norm(in.q) * largest_norm(in.k);
  return 2 * ((width + 3) * score + 2 * width + length / 32 + std::min(length, 512.0) + 16);
}

}  // namespace dr
