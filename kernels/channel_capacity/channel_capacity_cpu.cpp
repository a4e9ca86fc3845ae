#include "kernels/channel_capacity/channel_capacity.h"
#include "kernels/channel_capacity/channel_capacity_math.h"

#include <algorithm>

#include "kernels/core/gemm.h"
#include "kernels/core/math.h"
#include "kernels/core/reduce.h"

namespace dr {
namespace DR_ISA {
namespace {

static_assert(ChannelCapacity::kChunk == kChainChunk);
constexpr int kStrip = 4;  // vectors of columns that go down the rows together: whole cache lines, four chains
constexpr int64_t kBlockRows = 128;   // rows of A per piece of work; each packs the columns right of its diagonal

// The canonical sums of term(row pointer, vector j, n) down all rows, for one strip of columns.
template <class T, class Term>
DR_INLINE void column_sums(const View& x, int64_t c, const int (&n)[kStrip], f32v (&sum)[kStrip], Term&& term) {
  const int64_t rows = x.size(0);
  for (int64_t base = 0; base < rows; base += kChainChunk) {
    f32v chunk[kStrip] = {};
    const int64_t end = std::min(base + kChainChunk, rows);
    for (int64_t r = base; r < end; r++) {
      const T* row = static_cast<const T*>(x.data) + r * x.stride(0) + c;
#pragma GCC unroll 4
      for (int j = 0; j < kStrip; j++)
        if (n[j] > 0) term(chunk[j], n[j] == W ? load(row + j * W) : load_n(row + j * W, n[j]), j);
    }
    for (int j = 0; j < kStrip; j++) sum[j] = base ? sum[j] + chunk[j] : chunk[j];
  }
}

template <class T>
void strip_statistics(const View& x, float noise_power, const ChannelCapacity::Out& out, int64_t c) {
  const f32v count = splat(float(x.size(0)));
  int n[kStrip];
  for (int j = 0; j < kStrip; j++) n[j] = int(std::clamp<int64_t>(x.size(1) - c - j * W, 0, W));
  f32v mean[kStrip] = {}, square[kStrip] = {};
  column_sums<T>(x, c, n, mean, [](f32v& acc, f32v v, int) { acc += v; });
  for (int j = 0; j < kStrip; j++) mean[j] = mean[j] / count;
  column_sums<T>(x, c, n, square, [&](f32v& acc, f32v v, int j) {
    const f32v d = v - mean[j];
    acc = fma(d, d, acc);
  });
  for (int j = 0; j < kStrip && n[j] > 0; j++) {
    const f32v variance = square[j] / count;
    store_n(out.mean.as<float>() + c + j * W, mean[j], n[j]);
    store_n(out.variance.as<float>() + c + j * W, variance, n[j]);
    store_n(out.feature_bits.as<float>() + c + j * W, feature_bits(variance, splat(noise_power)), n[j]);
  }
}

// a: the upper triangle of S, row-major C x C; d: room for one chunk of centred rows.
template <class T>
void covariance(Context& ctx, const View& x, const float* mean, float* d, float* a) {
  const int64_t rows = x.size(0), cols = x.size(1);
  for (int64_t base = 0; base < rows; base += kChainChunk) {
    const int64_t depth = std::min(kChainChunk, rows - base);
    ctx.parallel(depth, 16, [&](int64_t b, int64_t e) {
      for (int64_t r = b; r < e; r++) {
        const T* row = static_cast<const T*>(x.data) + (base + r) * x.stride(0);
        for_vectors(cols,
                    [&](int64_t c, auto n) { store_n(d + r * cols + c, load_n(row + c, n) - load_n(mean + c, n), n); });
      }
    });
    ctx.parallel((cols + kBlockRows - 1) / kBlockRows, 1, [&](int64_t b, int64_t e) {
      for (int64_t i = b * kBlockRows; i < std::min(e * kBlockRows, cols); i += kBlockRows) {
        const int64_t m = std::min(kBlockRows, cols - i);
        float* const block = a + i * cols + i;
        // The sums of earlier chunks are in A itself; the first chunk begins it.
        gemm(m, cols - i, depth, Matrix<float>{d + i, cols, true}, Matrix<float>{d + i, cols}, block, EvenRows(cols),
             [&](int64_t row, int64_t col, f32v v, auto n) {
               return base ? load_n(block + row * cols + col, n) + v : v;
             });
      }
    });
  }
}

// Half the natural logarithm of the determinant: the row sum of log(U[j,j]), where U^T U is the matrix whose upper
// triangle is a. Right-looking: once row k of U is known it is taken off every later row, so elements see ascending k.
float half_log_determinant(float* a, int64_t cols, float* diagonal) {
  for (int64_t k = 0; k < cols; k++) {
    float* const row = a + k * cols;
    const float pivot = sqrt(row[k]);
    diagonal[k] = pivot;
    for_vectors(cols - k - 1, [&](int64_t j, auto n) {
      float* const p = row + k + 1 + j;
      store_n(p, load_n(p, n) / splat(pivot), n);
    });
    for (int64_t i = k + 1; i < cols; i++) {
      const f32v factor = splat(-row[i]);
      for_vectors(cols - i, [&](int64_t j, auto n) {
        float* const p = a + i * cols + i + j;
        store_n(p, fma(factor, load_n(row + i + j, n), load_n(p, n)), n);
      });
    }
  }
  return row_reduce(cols, [&](f32v& acc, int64_t i, auto n) { acc += keep(log(load_n(diagonal + i, n)), n); });
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void ChannelCapacity::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t rows = in.x.size(0), cols = in.x.size(1);
  const float sigma = in.sigma.as<float>()[0], noise_power = sigma * sigma, count = float(rows);
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    ctx.parallel((cols + kStrip * W - 1) / (kStrip * W), 1, [&](int64_t b, int64_t e) {
      for (int64_t s = b; s < e; s++) strip_statistics<T>(in.x, noise_power, out, s * kStrip * W);
    });
    out.bits.as<float>()[0] = row_sum(out.feature_bits.as<float>(), cols);
    if (!log_determinant) return;
    float* const d = ctx.scratch_as<float>(size_t(cols * (kChunk + cols)));
    float* const a = d + kChunk * cols;
    covariance<T>(ctx, in.x, out.mean.as<float>(), d, a);
    for (int64_t i = 0; i < cols; i++) {
      for_vectors(cols - i, [&](int64_t j, auto n) {
        float* const p = a + i * cols + i + j;
        store_n(p, signal_to_noise(load_n(p, n), splat(count), splat(noise_power)), n);
      });
      a[i * cols + i] += 1.f;
    }
    out.logdet_bits.as<float>()[0] = kLog2E * half_log_determinant(a, cols, d);
  });
}

}  // namespace dr
