#pragma once
// The kernels of channel_groups.h on a device, which states the order of summation; core/channel_stats.h has them for
// the CPU. One thread a column of a chunk, one group a group of channels of a unit, one thread a run of elements where
// all is known. Last include of a `.cu`, as gpu.h.

#include "kernels/core/channel_groups.h"
#include "kernels/core/gpu_rows.h"
#include "kernels/core/gpu_runs.h"
#include "kernels/core/math.h"
#include "kernels/core/sigmoid.h"

namespace dr::DR_BACKEND {

// The matrix of one tensor's unit.
template <class T>
struct UnitRows {
  T* data = nullptr;
  int64_t unit_stride = 0, row_stride = 0;
  DR_DEVICE T* row(int64_t unit, int64_t r) const { return data + unit * unit_stride + r * row_stride; }
};
template <class T>
UnitRows<T> unit_rows(const View& v, int64_t images) {
  if (!v) return {};
  const PixelRows p = pixel_rows(v, images, "x");
  return {static_cast<T*>(v.data), p.unit_stride, p.row_stride};
}

// The geometry of a call, and where it keeps what it knows of a unit's chunks and channels.
struct ChannelUnits {
  int64_t units, rows, cols, groups, width, chunks, unit_floats;
  float count;
  float* base;

  ChannelUnits(const Context& ctx, const ChannelGroups& g)
      : units(g.units), rows(g.rows), cols(g.cols), groups(g.groups), width(g.width()), chunks(g.chunks()),
        unit_floats(g.unit_floats()), count(g.count()), base(ctx.scratch_as<float>(size_t(units * unit_floats))) {}

  DR_DEVICE float* chunk(int64_t unit, int64_t k, int which) const {
    return base + unit * unit_floats + (2 * k + which) * cols;
  }
  DR_DEVICE float* channels(int64_t unit, int which) const { return chunk(unit, chunks, which); }
  DR_DEVICE int64_t rows_of(int64_t k) const {
    const int64_t left = rows - k * kChainChunk;
    return left < kChainChunk ? left : kChainChunk;
  }
  // The sum over the chunks of term(k), in ascending order.
  template <class F>
  DR_DEVICE float over_chunks(F&& term) const {
    float sum = term(0);
    for (int64_t k = 1; k < chunks; k++) sum += term(k);
    return sum;
  }
};

namespace channel_detail {

// f(unit, group) by the lanes of a group; where a group has one channel, by one thread.
template <class F>
struct ByGroup {
  int64_t groups;
  F f;
  DR_DEVICE void operator()(int64_t i) const { f(i / groups, i % groups); }
};
template <template <bool> class F, class... A>
void for_groups(const Context& ctx, const ChannelUnits& u, const A&... a) {
  const int64_t n = u.units * u.groups;
  if (u.width == 1) for_each(ctx, n, ByGroup<F<true>>{u.groups, {u, a...}});
  else for_rows(ctx, n, ByGroup<F<false>>{u.groups, {u, a...}});
}

template <bool kAlone>
struct Lanes {
  DR_DEVICE static int first() { return kAlone ? 0 : lane_index(); }
  static constexpr int kStep = kAlone ? 1 : kGroup;
  // The row sums over a group's channels of what term(a, b, c) adds.
  template <class F>
  DR_DEVICE static TwoSums sums(int64_t width, F&& term) {
    if constexpr (!kAlone) return row_reduce2(width, term);
    TwoSums s{0, 0};
    term(s.a, s.b, int64_t{0});
    return s;
  }
  template <class F>
  DR_DEVICE static float sum(int64_t width, F&& term) {
    if constexpr (!kAlone) return row_reduce(width, term);
    float s = 0;
    term(s, int64_t{0});
    return s;
  }
};

}  // namespace channel_detail

// ---- forward ----

struct NormWeights {
  const float *weight, *bias;  // per channel
  float eps;
};

// What is saved of a unit, per group; each may be absent.
struct NormStatistics {
  View mean, variance, rstd;
};

namespace channel_detail {

enum { kMean, kRstd, kSum, kSumX, kMeanG, kMeanGX };

// The sum and the squares about the chunk's own mean of one channel of one chunk.
template <class T>
struct CellStatistics {
  ChannelUnits u;
  UnitRows<const T> x;

  DR_DEVICE void operator()(int64_t item) const {
    constexpr int kAtOnce = 16;  // rows whose loads are under way together
    const int64_t c = item % u.cols, k = item / u.cols % u.chunks, unit = item / u.cols / u.chunks;
    const int64_t rows = u.rows_of(k), stride = x.row_stride;
    const T* const column = x.row(unit, k * kChainChunk) + c;
    const auto walk = [&](auto&& take) {
      int64_t r = 0;
      for (; r + kAtOnce <= rows; r += kAtOnce) {
        DR_UNROLL
        for (int j = 0; j < kAtOnce; j++) take(load1(column + (r + j) * stride));
      }
      for (; r < rows; r++) take(load1(column + r * stride));
    };
    float sum = 0, square = 0;
    walk([&](float v) { sum += v; });
    const float mean = sum / float(rows);
    walk([&](float v) {
      const float d = v - mean;
      square = fma(d, d, square);
    });
    u.chunk(unit, k, 0)[c] = sum;
    u.chunk(unit, k, 1)[c] = square;
  }
};

template <bool kAlone>
struct MergeStatistics {
  ChannelUnits u;
  float eps;
  float *mean_of, *variance_of, *rstd_of;  // null: not saved

  DR_DEVICE void operator()(int64_t unit, int64_t group) const {
    using L = Lanes<kAlone>;
    const int64_t first = group * u.width;
    const float mean = L::sum(u.width, [&](float& acc, int64_t i) {
      acc += u.over_chunks([&](int64_t k) { return u.chunk(unit, k, 0)[first + i]; });
    }) / u.count;
    const float variance = L::sum(u.width, [&](float& acc, int64_t i) {
      acc += u.over_chunks([&](int64_t k) {
        const float rows = float(u.rows_of(k)), d = u.chunk(unit, k, 0)[first + i] / rows - mean;
        return fma(rows * d, d, u.chunk(unit, k, 1)[first + i]);
      });
    }) / u.count;
    const float rstd = rsqrt(variance + eps);
    for (int64_t i = L::first(); i < u.width; i += L::kStep) {
      u.channels(unit, kMean)[first + i] = mean;
      u.channels(unit, kRstd)[first + i] = rstd;
    }
    if (L::first() != 0) return;
    const int64_t at = unit * u.groups + group;
    if (mean_of) mean_of[at] = mean;
    if (variance_of) variance_of[at] = variance;
    if (rstd_of) rstd_of[at] = rstd;
  }
};

template <class T, bool kSilu>
struct ApplyForward {
  ChannelUnits u;
  UnitRows<const T> x;
  UnitRows<T> y;
  NormWeights norm;

  DR_DEVICE void operator()(int64_t r, int64_t c, int n) const {
    const int64_t unit = r / u.rows, row = r % u.rows;
    const Run mean = load_run(u.channels(unit, kMean) + c, n), rstd = load_run(u.channels(unit, kRstd) + c, n);
    const Run weight = load_run(norm.weight + c, n), bias = load_run(norm.bias + c, n);
    Run v = load_run(x.row(unit, row) + c, n);
    DR_UNROLL
    for (int j = 0; j < kRun; j++) {
      const float z = fma((v[j] - mean[j]) * rstd[j], weight[j], bias[j]);
      v[j] = kSilu ? z * sigmoid(z) : z;
    }
    store_run(y.row(unit, row) + c, v, n);
  }
};

}  // namespace channel_detail

// y = fma((x - mean) rstd, weight, bias), through SiLU where asked for.
template <class T, bool kSilu>
void channel_norm_forward(const Context& ctx, const ChannelGroups& g, int64_t images, const View& x_view,
                          const NormWeights& norm, const View& y_view, const NormStatistics& saved) {
  using namespace channel_detail;
  if (g.units * g.rows * g.cols == 0) return;
  const ChannelUnits u(ctx, g);
  const UnitRows<const T> x = unit_rows<const T>(x_view, images);
  const auto data = [](const View& v) { return v ? v.as<float>() : nullptr; };
  for_each(ctx, u.units * u.chunks * u.cols, CellStatistics<T>{u, x});
  for_groups<MergeStatistics>(ctx, u, norm.eps, data(saved.mean), data(saved.variance), data(saved.rstd));
  for_runs(ctx, u.units * u.rows, u.cols,
           ApplyForward<T, kSilu>{u, x, unit_rows<T>(y_view, images), norm});
}

// ---- backward ----

struct NormGradients {
  View x, weight, bias;  // weight, bias: (leaves, C); each may be absent
};

enum class NormForm { plain, silu, constant };  // constant: the statistics are given, not those of x

namespace channel_detail {

struct SpreadStatistics {
  ChannelUnits u;
  const float *mean, *rstd;
  bool constant;  // one row for all units
  DR_DEVICE void operator()(int64_t item) const {
    const int64_t unit = item / u.cols, c = item % u.cols, from = (constant ? 0 : unit * u.groups) + c / u.width;
    u.channels(unit, kMean)[c] = mean[from];
    u.channels(unit, kRstd)[c] = rstd[from];
  }
};

// The sums of dz and of dz xhat of one channel of one chunk.
template <class T, NormForm kForm>
struct CellGradients {
  ChannelUnits u;
  UnitRows<const T> x, dy;
  NormWeights norm;

  DR_DEVICE void operator()(int64_t item) const {
    constexpr int kAtOnce = kForm == NormForm::silu ? 4 : 8;  // rows whose loads are under way together
    const int64_t c = item % u.cols, k = item / u.cols % u.chunks, unit = item / u.cols / u.chunks, rows = u.rows_of(k);
    const T *const x0 = x.row(unit, k * kChainChunk) + c, *const dy0 = dy.row(unit, k * kChainChunk) + c;
    const float mean = u.channels(unit, kMean)[c], rstd = u.channels(unit, kRstd)[c];
    const float weight = norm.weight[c], bias = norm.bias[c];
    float sum = 0, sum_x = 0;
    const auto take = [&](int64_t r) {
      const float xhat = (load1(x0 + r * x.row_stride) - mean) * rstd;
      float dz = load1(dy0 + r * dy.row_stride);
      if (kForm == NormForm::silu) dz = silu_backward(dz, fma(xhat, weight, bias));
      sum += dz;
      sum_x = fma(dz, xhat, sum_x);
    };
    int64_t r = 0;
    for (; r + kAtOnce <= rows; r += kAtOnce) {
      DR_UNROLL
      for (int j = 0; j < kAtOnce; j++) take(r + j);
    }
    for (; r < rows; r++) take(r);
    u.chunk(unit, k, 0)[c] = sum;
    u.chunk(unit, k, 1)[c] = sum_x;
  }
};

template <bool kAlone>
struct MergeGradients {
  ChannelUnits u;
  const float* weight;

  DR_DEVICE void operator()(int64_t unit, int64_t group) const {
    using L = Lanes<kAlone>;
    const int64_t first = group * u.width;
    const TwoSums sums = L::sums(u.width, [&](float& a, float& b, int64_t i) {
      const int64_t c = first + i;
      const float sum = u.over_chunks([&](int64_t k) { return u.chunk(unit, k, 0)[c]; });
      const float sum_x = u.over_chunks([&](int64_t k) { return u.chunk(unit, k, 1)[c]; });
      u.channels(unit, kSum)[c] = sum;
      u.channels(unit, kSumX)[c] = sum_x;
      a += weight[c] * sum;
      b += weight[c] * sum_x;
    });
    const float mean_g = sums.a / u.count, mean_gx = sums.b / u.count;
    for (int64_t i = L::first(); i < u.width; i += L::kStep) {
      u.channels(unit, kMeanG)[first + i] = mean_g;
      u.channels(unit, kMeanGX)[first + i] = mean_gx;
    }
  }
};

template <class T, NormForm kForm>
struct ApplyBackward {
  ChannelUnits u;
  UnitRows<const T> x, dy;
  UnitRows<T> dx;
  NormWeights norm;

  DR_DEVICE void operator()(int64_t r, int64_t c, int n) const {
    const int64_t unit = r / u.rows, row = r % u.rows;
    const Run rstd = load_run(u.channels(unit, kRstd) + c, n), weight = load_run(norm.weight + c, n);
    Run v = load_run(dy.row(unit, row) + c, n);
    if constexpr (kForm == NormForm::constant) {
      DR_UNROLL
      for (int j = 0; j < kRun; j++) v[j] = v[j] * (weight[j] * rstd[j]);
    } else {
      const Run from = load_run(x.row(unit, row) + c, n), mean = load_run(u.channels(unit, kMean) + c, n);
      const Run mean_g = load_run(u.channels(unit, kMeanG) + c, n),
                   mean_gx = load_run(u.channels(unit, kMeanGX) + c, n);
      const Run bias = load_run(norm.bias + c, n);
      DR_UNROLL
      for (int j = 0; j < kRun; j++) {
        const float xhat = (from[j] - mean[j]) * rstd[j];
        const float dz = kForm == NormForm::silu ? silu_backward(v[j], fma(xhat, weight[j], bias[j])) : v[j];
        v[j] = rstd[j] * fma(-xhat, mean_gx[j], dz * weight[j] - mean_g[j]);
      }
    }
    store_run(dx.row(unit, row) + c, v, n);
  }
};

struct AddUnit {
  ChannelUnits u;
  DR_DEVICE void operator()(int64_t unit, int64_t c, float (&sums)[2]) const {
    sums[0] += u.channels(unit, kSum)[c];
    sums[1] += u.channels(unit, kSumX)[c];
  }
};

}  // namespace channel_detail

// mean, rstd (units, groups) f32 packed; or one row for all units where they are constant. As channel_stats.h says.
// Scratch: ChannelGroups::device_scratch_bytes.
template <class T, NormForm kForm>
void channel_norm_backward(const Context& ctx, const ChannelGroups& g, int64_t images, const View& x_view,
                           const NormWeights& norm, const float* mean, const float* rstd, const View& dy_view,
                           const NormGradients& grad) {
  using namespace channel_detail;
  CHECK(g.units % ctx.leaves == 0, "{} units of statistics do not divide into {} leaves", g.units, ctx.leaves);
  const ChannelUnits u(ctx, g);
  if (g.units * g.rows * g.cols > 0) {
    const UnitRows<const T> x = unit_rows<const T>(x_view, images), dy = unit_rows<const T>(dy_view, images);
    for_each(ctx, u.units * u.cols, SpreadStatistics{u, mean, rstd, kForm == NormForm::constant});
    for_each(ctx, u.units * u.chunks * u.cols, CellGradients<T, kForm>{u, x, dy, norm});
    for_groups<MergeGradients>(ctx, u, norm.weight);
    if (grad.x)
      for_runs(ctx, u.units * u.rows, u.cols,
               ApplyBackward<T, kForm>{u, x, dy, unit_rows<T>(grad.x, images), norm});
  }
  const View grads[] = {grad.bias, grad.weight};
  column_sums(ctx, RowGroups(ctx.leaves, g.units, g.cols), grads, AddUnit{u}, g.scratch_bytes());
}

}  // namespace dr::DR_BACKEND
