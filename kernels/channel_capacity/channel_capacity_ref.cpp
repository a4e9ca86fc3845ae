#include <cmath>
#include <numbers>
#include <utility>

#include "kernels/channel_capacity/channel_capacity.h"
#include "kernels/core/chain_depth.h"

namespace dr {

namespace {

// Gauss-Jordan elimination without pivoting, which a positive definite matrix does not need: a becomes its inverse.
// Returns the natural logarithm of the determinant.
double invert(std::vector<double>& a, int64_t n) {
  double log_determinant = 0;
  for (int64_t k = 0; k < n; k++) {
    const double pivot = a[size_t(k * n + k)];
    log_determinant += std::log(pivot);
    a[size_t(k * n + k)] = 1;
    for (int64_t j = 0; j < n; j++) a[size_t(k * n + j)] /= pivot;
    for (int64_t i = 0; i < n; i++) {
      if (i == k) continue;
      const double factor = std::exchange(a[size_t(i * n + k)], 0.0);
      for (int64_t j = 0; j < n; j++) a[size_t(i * n + j)] -= factor * a[size_t(k * n + j)];
    }
  }
  return log_determinant;
}

}  // namespace

void ChannelCapacity::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t rows = in.x.size(0), cols = in.x.size(1);
  const double count = double(rows), sigma = in.sigma.at<double>(0), power = sigma * sigma, u = 0x1p-24;
  const double depth = chain_depth(rows);                     // roundings that one term of a column sum meets
  const double row_depth = double((cols + 31) / 32) + 5;
  std::vector<double> d(size_t(rows * cols)), d_error(size_t(rows * cols));  // x - mean; errors in units of u
  double total = 0, total_error = 0;
  for (int64_t c = 0; c < cols; c++) {
    double sum = 0, sum_abs = 0, square = 0, square_error = 0;
    for (int64_t r = 0; r < rows; r++) sum += in.x.at<double>(r, c), sum_abs += std::fabs(in.x.at<double>(r, c));
    const double mean = sum / count, mean_error = (depth * sum_abs / count + std::fabs(mean)) * (1 + depth * u);
    for (int64_t r = 0; r < rows; r++) {
      const size_t i = size_t(r * cols + c);
      d[i] = in.x.at<double>(r, c) - mean;
      d_error[i] = mean_error + std::fabs(d[i]);
      square += d[i] * d[i];
      square_error += 2 * std::fabs(d[i]) * d_error[i] + d_error[i] * d_error[i] * u;
    }
    const double variance = square / count;
    const double variance_error = (square_error / count + (depth + 1) * variance) * (1 + depth * u);
    const double snr = variance / power, snr_error = variance_error / power + 2 * snr;  // the power, the quotient
    const double value = 0.5 / std::numbers::ln2 * std::log1p(snr);
    // log1p, its constant and their product: 3.
    const double value_error = 0.5 / std::numbers::ln2 * snr_error / (1 + snr) * (1 + 0x1p-12) + 3 * value;
    out.mean.at<double>(c) = mean, bound.mean.at<double>(c) = mean_error;
    out.variance.at<double>(c) = variance, bound.variance.at<double>(c) = variance_error;
    out.feature_bits.at<double>(c) = value, bound.feature_bits.at<double>(c) = value_error;
    total += value, total_error += value_error;
  }
  out.bits.at<double>(0) = total;
  bound.bits.at<double>(0) = (total_error + row_depth * total) * (1 + row_depth * u);
  if (!log_determinant) return;

  // A, and how far the matrix that the kernel factors exactly may lie from it.
  std::vector<double> a(size_t(cols * cols)), error(size_t(cols * cols));
  for (int64_t i = 0; i < cols; i++)
    for (int64_t j = 0; j < cols; j++) {
      double sum = 0, sum_error = 0;
      for (int64_t r = 0; r < rows; r++) {
        const size_t p = size_t(r * cols + i), q = size_t(r * cols + j);
        sum += d[p] * d[q];
        sum_error += std::fabs(d[p]) * d_error[q] + std::fabs(d[q]) * d_error[p] + d_error[p] * d_error[q] * u +
                     depth * std::fabs(d[p] * d[q]);
      }
      const double s = sum / count / power;
      a[size_t(i * cols + j)] = s + (i == j ? 1 : 0);
      // Two divisions and the power: 3. The diagonal's sum: 1.
      error[size_t(i * cols + j)] = sum_error / count / power + 3 * std::fabs(s) + (i == j ? s + 1 : 0);
    }
  // Cholesky's backward error is at most (C+1) u (|U|^T |U|)[i,j] <= (C+1) u sqrt(A[i,i] A[j,j]) (Higham,
  // theorem 10.3).
  for (int64_t i = 0; i < cols; i++)
    for (int64_t j = 0; j < cols; j++)
      error[size_t(i * cols + j)] += double(cols + 1) * std::sqrt(a[size_t(i * cols + i)] * a[size_t(j * cols + j)]);
  const double log_det = invert(a, cols);
  double change = 0;  // of log det A: the trace of A^-1 times the error, and the series' remainder
  for (size_t i = 0; i < a.size(); i++) change += std::fabs(a[i]) * error[i];
  change /= 1 - u * change;
  out.logdet_bits.at<double>(0) = 0.5 / std::numbers::ln2 * log_det;
  // Each logarithm: 1; their sum; the constant and the product: 2. All logarithms are positive.
  bound.logdet_bits.at<double>(0) =
      0.5 / std::numbers::ln2 * (change + (row_depth + 3) * log_det * (1 + row_depth * u));
}

}  // namespace dr
