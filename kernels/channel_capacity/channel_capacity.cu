#include "kernels/channel_capacity/channel_capacity.h"
#include "kernels/channel_capacity/channel_capacity_math.h"

#include "kernels/core/gpu_gemm.h"
#include "kernels/core/gpu_rows.h"

namespace dr {
namespace DR_BACKEND {
namespace {

// ---- statistics of features ----

template <class T>
struct Values {
  RowsOf<const T> x;
  DR_DEVICE void operator()(int64_t r, int64_t c, float (&sum)[1]) const { sum[0] += load1(x.row(r) + c); }
};
struct StoreMean {
  float count, *mean;
  DR_DEVICE void operator()(int64_t, int64_t c, const float (&sum)[1]) const { mean[c] = sum[0] / count; }
};
template <class T>
struct Squares {
  RowsOf<const T> x;
  const float* mean;
  DR_DEVICE void operator()(int64_t r, int64_t c, float (&sum)[1]) const {
    const float d = load1(x.row(r) + c) - mean[c];
    sum[0] = fma(d, d, sum[0]);
  }
};
struct StoreBits {
  float count;
  const float* sigma;
  float *variance, *bits;
  DR_DEVICE void operator()(int64_t, int64_t c, const float (&sum)[1]) const {
    const float v = sum[0] / count;
    variance[c] = v;
    bits[c] = feature_bits(v, *sigma * *sigma);
  }
};

// Of one row of features: sum of v, or of log(v).
template <bool kLog>
struct Sum {
  const float* v;
  DR_DEVICE auto operator()(int64_t) const {
    return [v = v](float& acc, int64_t i) { acc += kLog ? log(v[i]) : v[i]; };
  }
};
struct StoreScaled {
  float scale, *to;
  DR_DEVICE void operator()(int64_t, float sum) const { *to = scale * sum; }
};

// ---- the matrix A ----

// x less its mean: (features, rows) as A, (rows, features) as B.
struct Centred {
  Operand x;
  const float* mean;
  DR_DEVICE float operator()(int64_t, int64_t i, int64_t j) const { return x(0, i, j) - mean[x.transposed ? i : j]; }
};
struct StoreSignalToNoise {
  float count;
  const float* sigma;
  float* a;
  int64_t cols;
  DR_DEVICE void operator()(int64_t, int64_t i, int64_t j, float sum) const {
    const float v = signal_to_noise(sum, count, *sigma * *sigma);
    a[i * cols + j] = i == j ? v + 1.f : v;
  }
};

// ---- Cholesky, right-looking: kPanel rows of U at a time, which are then taken off all later rows ----

constexpr int kPanel = 16, kTile = 32, kPanelThreads = 128;

struct PanelShared {
  float u[kPanel][kPanel + 1];
};
struct TileShared {
  float left[kPanel][kTile], top[kPanel][kTile];
};

// Rows k0 .. k0 + depth - 1 of U, a column a thread. Every block factors the square on the diagonal for itself; in
// memory it stays as it is, since of it only the pivots are wanted.
DR_KERNEL void factor_panel(float* a, int64_t cols, int64_t k0, int depth, float* diagonal) {
  auto& s = shared_memory<PanelShared>();
  for (int e = thread_index(); e < depth * depth; e += kPanelThreads)
    s.u[e / depth][e % depth] = a[(k0 + e / depth) * cols + k0 + e % depth];
  block_sync();  // the square is there
  if (group_index() == 0) {
    const int j = lane_index();
    for (int k = 0; k < depth; k++) {
      const float pivot = sqrt(s.u[k][k]);
      group_sync();  // all have read it
      if (j >= k && j < depth) s.u[k][j] = j == k ? pivot : s.u[k][j] / pivot;
      group_sync();  // row k is there
      for (int i = k + 1; i < depth; i++)
        if (j >= i && j < depth) s.u[i][j] = fma(-s.u[k][i], s.u[k][j], s.u[i][j]);
      group_sync();  // the next pivot is there
    }
    if (block_index().x == 0 && j < depth) diagonal[k0 + j] = s.u[j][j];
  }
  block_sync();  // the square is factored
  const int64_t j = k0 + depth + global_thread();
  if (j >= cols) return;
  float v[kPanel];
  DR_UNROLL
  for (int k = 0; k < kPanel; k++) v[k] = k < depth ? a[(k0 + k) * cols + j] : 0.f;
  DR_UNROLL
  for (int k = 0; k < kPanel; k++) {
    if (k < depth) v[k] = v[k] / s.u[k][k], a[(k0 + k) * cols + j] = v[k];
    DR_UNROLL
    for (int i = k + 1; i < kPanel; i++)
      if (i < depth) v[i] = fma(-s.u[k][i], v[k], v[i]);
  }
}

// Takes the rows of a whole panel off a tile of later rows, right of the diagonal.
DR_KERNEL void take_off_panel(float* a, int64_t cols, int64_t k0) {
  if (block_index().x < block_index().y) return;
  auto& s = shared_memory<TileShared>();
  const int64_t first = k0 + kPanel, i0 = first + int64_t(block_index().y) * kTile,
                j0 = first + int64_t(block_index().x) * kTile;
  for (int e = thread_index(); e < kPanel * kTile; e += kBlock) {
    const int k = e / kTile, at = e % kTile;
    s.left[k][at] = i0 + at < cols ? a[(k0 + k) * cols + i0 + at] : 0.f;
    s.top[k][at] = j0 + at < cols ? a[(k0 + k) * cols + j0 + at] : 0.f;
  }
  block_sync();  // the panel's rows are there
  const int64_t j = j0 + lane_index();
  for (int row = group_index(); row < kTile; row += kBlock / kGroup) {
    const int64_t i = i0 + row;
    if (i > j || j >= cols) continue;
    float v = a[i * cols + j];
    DR_UNROLL
    for (int k = 0; k < kPanel; k++) v = fma(-s.left[k][row], s.top[k][lane_index()], v);
    a[i * cols + j] = v;
  }
}

void cholesky(const Context& ctx, float* a, int64_t cols, float* diagonal) {
  static_assert(kTile == kGroup);
  for (int64_t k0 = 0; k0 < cols; k0 += kPanel) {
    const int64_t left = cols - k0 - kPanel;  // columns behind the panel
    launch<factor_panel>(
        ctx, {.grid = {blocks_for(left, kPanelThreads)}, .threads = kPanelThreads, .shared = sizeof(PanelShared)}, a,
        cols, k0, left < 0 ? int(cols - k0) : kPanel, diagonal);
    if (left <= 0) return;
    const unsigned tiles = blocks_for(left, kTile);
    launch<take_off_panel>(ctx, {.grid = {tiles, tiles}, .threads = kBlock, .shared = sizeof(TileShared)}, a, cols, k0);
  }
}

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void ChannelCapacity::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t rows = in.x.size(0), cols = in.x.size(1);
  const float count = float(rows), *const sigma = in.sigma.as<float>();
  float *const mean = out.mean.as<float>(), *const bits = out.feature_bits.as<float>();
  const RowGroups all(1, rows, cols);
  const RowBlocks features(View(nullptr, DType::f32, {1, cols}));
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    const auto x = rows_of<const T>(in.x);
    column_totals<1>(ctx, all, Values<T>{x}, StoreMean{count, mean});
    column_totals<1>(ctx, all, Squares<T>{x, mean}, StoreBits{count, sigma, out.variance.as<float>(), bits});
  });
  for_row_sums(ctx, features, Sum<false>{bits}, StoreScaled{1.f, out.bits.as<float>()});
  if (!log_determinant) return;
  float* const a = ctx.scratch_as<float>(size_t(cols * (cols + 1)), device_sums(in.x));
  float* const diagonal = a + cols * cols;
  gemm(ctx, GemmShape{1, cols, cols, rows, false, false}, Centred{operand(in.x, true), mean},
       Centred{operand(in.x, false), mean}, StoreSignalToNoise{count, sigma, a, cols});
  cholesky(ctx, a, cols, diagonal);
  for_row_sums(ctx, features, Sum<true>{diagonal}, StoreScaled{kLog2E, out.logdet_bits.as<float>()});
}

}  // namespace dr
