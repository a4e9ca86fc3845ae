#include <cmath>
#include <vector>

#include "kernels/qkv_attention/qkv_attention.h"

namespace dr {

namespace {

constexpr double kUnit = 0x1p-24, kRoundingToBf16 = 0x1p16;  // 2^-8 of the value, in units of u

struct Doubles {
  std::vector<double> data;
  View view;
  explicit Doubles(const Sizes& sizes) : data(size_t(sizes.count())), view(data.data(), DType::f64, sizes) {}
};

template <class F>
void for_heads(const Sizes& s, F&& f) {
  for (int64_t b = 0; b < s[0]; b++)
    for (int64_t t = 0; t < s[1]; t++)
      for (int64_t h = 0; h < s[2]; h++) f(b, t, h);
}

// A reference sees doubles alone: values that are all bf16 numbers are taken for a bf16 tensor.
bool may_be_bf16(const View& qkv) {
  bool all = true;
  for (int64_t i = 0; i < 3; i++) {
    const View x = QkvAttention::part(qkv, i);
    for_heads(x.sizes, [&](int64_t b, int64_t t, int64_t h) {
      for (int64_t d = 0; d < x.size(3); d++) {
        const double v = x.at<double>(b, t, h, d);
        all &= double(widen(to_bf16(float(v)))) == v;
      }
    });
  }
  return all;
}

}  // namespace

// q and k are those of QkNormRotary's reference, off by its bounds and the rounding to bf16. That moves the scores of
// query i by at most shift[i] = max_j |scale| sum_d (|q| k_error + |k| q_error + q_error k_error), hence the maximum by
// as much, exp(s - max) and den by a factor of exp(2 shift u) at most, and so p, of which y is a sum. To this come the
// bounds of Attention's reference, which were taken at scores that are off by so much.
void QkvAttention::reference(const In& in, const Out& out, const Out& bound) const {
  const View v = part(in.qkv, 2);
  const Sizes sizes = v.sizes, rows{sizes[0], sizes[1], sizes[2]}, row_of_max{sizes[0], sizes[2], sizes[1]};
  const int64_t length = sizes[1], width = sizes[3];
  Doubles q(sizes), k(sizes), q_error(sizes), k_error(sizes), rstd(rows), rstd_error(rows);
  norm().reference(norm_in(in), {q.view, k.view, rstd.view, rstd.view},
                   {q_error.view, k_error.view, rstd_error.view, rstd_error.view});
  if (may_be_bf16(in.qkv))
    for (auto [x, error] : {std::pair{&q, &q_error}, std::pair{&k, &k_error}})
      for (size_t i = 0; i < x->data.size(); i++)
        error->data[i] += kRoundingToBf16 * (std::fabs(x->data[i]) + error->data[i] * kUnit);

  // What y would be of |v|: sum_j p |v|.
  Doubles magnitude(sizes), of_magnitude(sizes), unused(sizes), unused_row(row_of_max);
  for_heads(sizes, [&](int64_t b, int64_t t, int64_t h) {
    for (int64_t d = 0; d < width; d++) magnitude.view.at<double>(b, t, h, d) = std::fabs(v.at<double>(b, t, h, d));
  });
  attention().reference({q.view, k.view, magnitude.view}, {of_magnitude.view, unused_row.view, unused_row.view},
                        {unused.view, unused_row.view, unused_row.view});
  attention().reference({q.view, k.view, v}, {out.y, out.max, out.den}, {bound.y, bound.max, bound.den});

  const double factor = std::fabs(double(attention().scale_for(width)));
  for_heads(sizes, [&](int64_t b, int64_t i, int64_t h) {
    const double *const qi = &q.view.at<double>(b, i, h, 0), *const qe = &q_error.view.at<double>(b, i, h, 0);
    double shift = 0;
    for (int64_t j = 0; j < length; j++) {
      const double *const kj = &k.view.at<double>(b, j, h, 0), *const ke = &k_error.view.at<double>(b, j, h, 0);
      double sum = 0;
      for (int64_t d = 0; d < width; d++)
        sum += std::fabs(qi[d]) * ke[d] + std::fabs(kj[d]) * qe[d] + qe[d] * ke[d] * kUnit;
      shift = std::max(shift, factor * sum);
    }
    const double moved = std::expm1(2 * shift * kUnit) / kUnit, swell = std::exp(4 * shift * kUnit);
    bound.max.at<double>(b, h, i) = shift + swell * bound.max.at<double>(b, h, i);
    bound.den.at<double>(b, h, i) = moved * out.den.at<double>(b, h, i) + swell * bound.den.at<double>(b, h, i);
    for (int64_t d = 0; d < width; d++) {
      double& y = bound.y.at<double>(b, i, h, d);
      y = moved * of_magnitude.view.at<double>(b, i, h, d) + swell * y;
    }
  });
}

// What the gradients of the parts are off by adds up. A normalised head is no longer than sqrt(D) max |weight|, turned
// by tables of at most 1 by sqrt(2) of that. Where q and k are rounded to bf16, that moves a score by 2^-7 of its size
// at most, p by twice as much; the gradients of q and k are rounded once more.
double QkvAttention::gradient_k(const In& in) const {
  const View q = part(in.qkv, 0);
  const double turned = in.cos ? std::sqrt(2.0) : 1;
  const auto longest = [&](const View& weight) {
    double largest = weight ? 0 : 1;
    for (int64_t d = 0; weight && d < weight.size(0); d++)
      largest = std::max(largest, std::fabs(double(weight.at<float>(d))));
    return largest * turned;
  };
  const double q_longest = longest(in.q_weight), k_longest = longest(in.k_weight), width = double(q.size(3));
  const auto everywhere = [&](std::vector<float>& head) {
    View x(head.data(), DType::f32, q.sizes);
    x.strides = {0, 0, 0, 1};
    return x;
  };
  std::vector<float> q_head(size_t(q.size(3)), float(q_longest)), k_head(size_t(q.size(3)), float(k_longest));
  const double parts = norm().gradient_k(norm_in(in)) +
                       attention().gradient_k({everywhere(q_head), everywhere(k_head), part(in.qkv, 2)});
  if (in.qkv.dtype != DType::bf16) return parts;
  const double score = std::fabs(double(attention().scale_for(q.size(3)))) * width * q_longest * k_longest;
  return parts + kRoundingToBf16 * (4 * score + 2);
}

}  // namespace dr
