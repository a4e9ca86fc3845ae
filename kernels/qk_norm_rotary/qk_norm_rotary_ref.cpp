#include <cmath>
#include <vector>

#include "kernels/qk_norm_rotary/qk_norm_rotary.h"

namespace dr {

namespace {

struct Value {
  double v, error;  // the error in units of u
};

// One head normalised: the sum of squares, its division and eps carry relative errors that rsqrt halves; it rounds
// once, each product once.
std::vector<Value> normalise(const double* x, const View& weight, int64_t width, double eps, Value& rstd) {
  const double depth = double((width + 31) / 32) + 5;  // additions that one term of a row sum goes through
  double square = 0;
  for (int64_t d = 0; d < width; d++) square += x[d] * x[d];
  const double mean = square / double(width), padded = mean + eps;
  rstd.v = 1 / std::sqrt(padded);
  rstd.error = rstd.v * (0.5 * ((depth + 1) * mean + padded) / padded + 1);
  std::vector<Value> n;
  for (int64_t d = 0; d < width; d++) {
    const double w = weight ? weight.at<double>(d) : 1, y = x[d] * rstd.v * w;
    n.push_back({y, std::fabs(x[d] * w) * rstd.error + 2 * std::fabs(y)});
  }
  return n;
}

}  // namespace

void QkNormRotary::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t width = in.q.size(3), half = width / 2;
  auto side = [&](const View& x, const View& weight, const View& y, const View& y_bound, const View& rstd,
                  const View& rstd_bound) {
    for (int64_t b = 0; b < x.size(0); b++)
      for (int64_t t = 0; t < x.size(1); t++)
        for (int64_t h = 0; h < x.size(2); h++) {
          Value r;
          const std::vector<Value> n = normalise(&x.at<double>(b, t, h, 0), weight, width, double(eps), r);
          rstd.at<double>(b, t, h) = r.v, rstd_bound.at<double>(b, t, h) = r.error;
          for (int64_t d = 0; d < width; d++) {
            Value v = n[size_t(d)];
            if (in.cos) {  // the rotation rounds one product, and the sum
              const double cos = in.cos.at<double>(b, t, d % half), sin = in.sin.at<double>(b, t, d % half);
              const Value& other = n[size_t(d < half ? d + half : d - half)];
              const double turned = (d < half ? -other.v : other.v) * sin, sum = v.v * cos + turned;
              v = {sum, v.error * std::fabs(cos) + other.error * std::fabs(sin) + std::fabs(turned) + std::fabs(sum)};
            }
            y.at<double>(b, t, h, d) = v.v, y_bound.at<double>(b, t, h, d) = v.error * (1 + 0x1p-16);
          }
        }
  };
  side(in.q, in.q_weight, out.q, bound.q, out.q_rstd, bound.q_rstd);
  side(in.k, in.k_weight, out.k, bound.k, out.k_rstd, bound.k_rstd);
}

}  // namespace dr
