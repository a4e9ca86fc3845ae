#include <cmath>

#include "kernels/ssim/ssim.h"

namespace dr {
namespace {

struct Moments {
  double mean = 0, square = 0, magnitude = 0;
};

}  // namespace

void Ssim::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t h = in.x.size(1), w = in.x.size(2), channels = in.x.size(3);
  double weight[kWindow], total = 0;
  for (int i = 0; i < kWindow; i++) total += weight[i] = std::exp(-(i - 5) * (i - 5) / (2 * 1.5 * 1.5));
  const double c1 = std::pow(0.01 * data_range, 2), c2 = std::pow(0.03 * data_range, 2);
  const double count = double((h - 10) * (w - 10) * channels);
  // Additions that a window's value goes through: its row's lanes and butterfly, the rows'; then the mean's division.
  const double depth = double((w - 10) * channels + 31) / 32 + 5 + double(h - 10 + 31) / 32 + 5 + 12 + 1;
  for (int64_t n = 0; n < in.x.size(0); n++) {
    double sum = 0, error = 0;
    for (int64_t r = 0; r + 10 < h; r++)
      for (int64_t q = 0; q + 10 < w; q++)
        for (int64_t c = 0; c < channels; c++) {
          double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
          Moments plus, minus;
          for (int i = 0; i < kWindow; i++)
            for (int j = 0; j < kWindow; j++) {
              const double g = weight[i] * weight[j] / (total * total);
              const double x = in.x.at<double>(n, r + i, q + j, c), y = in.y.at<double>(n, r + i, q + j, c);
              mx += g * x, my += g * y, xx += g * x * x, yy += g * y * y, xy += g * x * y;
              plus.square += g * (x + y) * (x + y), plus.magnitude += g * std::fabs(x + y);
              minus.square += g * (x - y) * (x - y), minus.magnitude += g * std::fabs(x - y);
            }
          plus.mean = mx + my, minus.mean = mx - my;
          const double nl = 2 * mx * my + c1, dl = mx * mx + my * my + c1;
          const double ns = 2 * (xy - mx * my) + c2, ds = xx - mx * mx + yy - my * my + c2;
          sum += nl / dl * ns / ds;

          // Errors in units of u. A weight: exp of a rounded argument (at most 5.6 of magnitude), the sum of eleven,
          // the division: below 20, twice for two axes; the chains 22; the element 1, its square 2 more. The sums of p
          // and d are twice those of x and y, so all is carried at that scale and halved where it enters nl, ns.
          double eps_mean = 0, eps_variance = 0;
          for (const Moments& m : {plus, minus}) {
            const double e_mean = 63 * m.magnitude, e_square = 65 * m.square, square = m.mean * m.mean;
            const double e_of_mean = 2 * std::fabs(m.mean) * e_mean + square;  // mu, then the product
            eps_mean += e_of_mean;
            eps_variance += e_square + 2 * std::fabs(m.mean) * e_mean + std::fabs(m.square - square);
          }
          // Numerator and denominator: the moments, the constant (four roundings), two additions each.
          const double e_nl = eps_mean / 2 + 6 * (dl + std::fabs(nl)), e_dl = eps_mean / 2 + 6 * dl;
          const double e_ns = eps_variance / 2 + 6 * (ds + std::fabs(ns)), e_ds = eps_variance / 2 + 6 * ds;
          const double l = nl / dl, s = ns / ds;
          const double e_l = (e_nl + std::fabs(l) * e_dl) / dl + std::fabs(l);
          const double e_s = (e_ns + std::fabs(s) * e_ds) / ds + std::fabs(s);
          error += std::fabs(l) * e_s + std::fabs(s) * e_l + (1 + depth) * std::fabs(l * s);
        }
    out.value.at<double>(n) = sum / count;
    bound.value.at<double>(n) = error / count * (1 + 0x1p-8);  // second order: some hundred u, squared
  }
}

}  // namespace dr
