#pragma once
// The kernels of channel_groups.h, which states the order of summation. Last include of a `_cpu.cpp`, as simd.h.

#include <algorithm>

#include "kernels/core/channel_groups.h"

#include "kernels/core/math.h"
#include "kernels/core/reduce.h"
#include "kernels/core/sigmoid.h"
#include "kernels/core/stream.h"
#include "kernels/core/strips.h"

namespace dr::DR_ISA {

static_assert(ChannelGroups::kChunk == kChainChunk);

// The matrix of one tensor's unit.
template <class T>
struct UnitRows {
  T* data;
  PixelRows at;
  UnitRows(const View& v, const PixelRows& p) : data(static_cast<T*>(v.data)), at(p) {}
  T* row(int64_t unit, int64_t r) const { return data + unit * at.unit_stride + r * at.row_stride; }
};

// Where a call keeps what it knows of a unit's chunks and channels.
struct UnitScratch {
  const ChannelGroups& g;
  float* base;

  float* chunk(int64_t unit, int64_t k, int which) const {
    return base + unit * g.unit_floats() + (2 * k + which) * g.cols;
  }
  float* channels(int64_t unit, int which) const { return chunk(unit, g.chunks(), which); }
};

// to[c] = (row sum over the group of c of from) / count, for every channel.
inline void group_means(const ChannelGroups& g, const float* from, float* to) {
  const f32v count = splat(g.count());
  if (g.width() == 1) {
    for_vectors(g.cols, [&](int64_t i, auto n) { store_n(to + i, (f32v{} + load_n(from + i, n)) / count, n); });
    return;
  }
  for (int64_t group = 0; group < g.groups; group++) {
    const float mean = row_sum(from + group * g.width(), g.width()) / g.count();
    std::fill_n(to + group * g.width(), g.width(), mean);
  }
}

// to = sum over the chunks, in ascending order, of term(chunk, i, n): columns i.. of one row of channels.
template <class F>
DR_INLINE void add_chunks(const ChannelGroups& g, float* to, F&& term) {
  for_vectors(g.cols, [&](int64_t i, auto n) {
    f32v sum = term(int64_t{0}, i, n);
    for (int64_t k = 1; k < g.chunks(); k++) sum += term(k, i, n);
    store_n(to + i, sum, n);
  });
}

// chunk(unit, k) for every chunk, then unit(u) for every unit, then last(unit, k) for every chunk, the latest first,
// since its pixels are the likeliest to be in a cache still. Units that fit there stay with one thread.
template <class Chunk, class Unit, class Last>
void in_phases(Context& ctx, const ChannelGroups& g, size_t unit_bytes, bool stream, Chunk&& chunk, Unit&& unit,
               Last&& last) {
  constexpr size_t kCacheBytes = size_t{1} << 20;
  const int64_t chunks = g.chunks();
  if (unit_bytes <= kCacheBytes && g.units >= 2 * ctx.threads()) {
    const int64_t grain = std::max<int64_t>(1, int64_t(16384 / (unit_bytes + 1)));
    ctx.parallel(g.units, grain, [&](int64_t begin, int64_t end) {
      for (int64_t u = begin; u < end; u++) {
        for (int64_t k = 0; k < chunks; k++) chunk(u, k);
        unit(u);
        for (int64_t k = chunks; k-- > 0;) last(u, k);
      }
      stream_fence(stream);
    });
    return;
  }
  ctx.parallel(g.units * chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; t++) chunk(t / chunks, t % chunks);
  });
  ctx.parallel(g.units, 1, [&](int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end; u++) unit(u);
  });
  const int64_t all = g.units * chunks - 1;
  ctx.parallel(g.units * chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; t++) last((all - t) / chunks, (all - t) % chunks);
    stream_fence(stream);
  });
}

// ---- forward ----

// One chunk: the sum and the squares about the chunk's own mean of each channel.
template <class T>
void cell_statistics(const T* x, int64_t stride, int64_t rows, int64_t cols, float* sums, float* squares) {
  const f32v count = splat(float(rows));
  for_strips(cols, [&]<int V>(int64_t c, std::integral_constant<int, V>, auto n) {
    f32v sum[V] = {}, square[V] = {}, mean[V];
    for (int64_t r = 0; r < rows; r++) {
#pragma GCC unroll 4
      for (int j = 0; j < V; j++) sum[j] += load_n(x + r * stride + c + j * W, n);
    }
    for (int j = 0; j < V; j++) mean[j] = sum[j] / count;
    for (int64_t r = 0; r < rows; r++) {
#pragma GCC unroll 4
      for (int j = 0; j < V; j++) {
        const f32v d = load_n(x + r * stride + c + j * W, n) - mean[j];
        square[j] = fma(d, d, square[j]);
      }
    }
    for (int j = 0; j < V; j++) store_n(sums + c + j * W, sum[j], n), store_n(squares + c + j * W, square[j], n);
  });
}

struct NormWeights {
  const float *weight, *bias;  // per channel
  float eps;
};

// What is saved of a unit, per group; each may be absent.
struct NormStatistics {
  View mean, variance, rstd;
};

// y = fma((x - mean) rstd, weight, bias), through SiLU where asked for.
template <class T, bool kSilu>
void channel_norm_forward(Context& ctx, const ChannelGroups& g, int64_t images, const View& x_view,
                          const NormWeights& norm, const View& y_view, const NormStatistics& saved) {
  if (g.units * g.rows * g.cols == 0) return;
  const UnitRows<const T> x(x_view, pixel_rows(x_view, images, "x"));
  const UnitRows<T> y(y_view, pixel_rows(y_view, images, "y"));
  const UnitScratch scratch{g, ctx.scratch_as<float>(size_t(g.units * g.unit_floats()))};
  const bool stream = streams(y_view);
  auto rows_of = [&](int64_t k) { return std::min(kChainChunk, g.rows - k * kChainChunk); };
  enum { kMean, kRstd, kTotal };

  auto statistics = [&](int64_t u, int64_t k) {
    cell_statistics(x.row(u, k * kChainChunk), x.at.row_stride, rows_of(k), g.cols, scratch.chunk(u, k, 0),
                    scratch.chunk(u, k, 1));
  };
  auto merge = [&](int64_t u) {
    float *total = scratch.channels(u, kTotal), *mean = scratch.channels(u, kMean), *rstd = scratch.channels(u, kRstd);
    add_chunks(g, total, [&](int64_t k, int64_t i, auto n) { return load_n(scratch.chunk(u, k, 0) + i, n); });
    group_means(g, total, mean);
    add_chunks(g, total, [&](int64_t k, int64_t i, auto n) {
      const f32v rows = splat(float(rows_of(k)));
      const f32v d = load_n(scratch.chunk(u, k, 0) + i, n) / rows - load_n(mean + i, n);
      return fma(rows * d, d, load_n(scratch.chunk(u, k, 1) + i, n));
    });
    group_means(g, total, rstd);
    auto save = [&](const View& to, const float* from) {
      if (!to) return;
      for (int64_t group = 0; group < g.groups; group++)
        to.as<float>()[u * g.groups + group] = from[group * g.width()];
    };
    save(saved.mean, mean);
    save(saved.variance, rstd);
    for_vectors(g.cols, [&](int64_t i, auto n) { store_n(rstd + i, rsqrt(load_n(rstd + i, n) + splat(norm.eps)), n); });
    save(saved.rstd, rstd);
  };
  auto apply = [&](int64_t u, int64_t k) {
    const float *mean = scratch.channels(u, kMean), *rstd = scratch.channels(u, kRstd);
    for (int64_t r = k * kChainChunk; r < k * kChainChunk + rows_of(k); r++) {
      const T* from = x.row(u, r);
      T* to = y.row(u, r);
      for_vectors(g.cols, [&](int64_t i, auto n) {
        const f32v xhat = (load_n(from + i, n) - load_n(mean + i, n)) * load_n(rstd + i, n);
        const f32v z = fma(xhat, load_n(norm.weight + i, n), load_n(norm.bias + i, n));
        put(to + i, kSilu ? z * sigmoid(z) : z, n, stream);
      });
    }
  };
  in_phases(ctx, g, x_view.bytes() / size_t(g.units), stream, statistics, merge, apply);
}

// ---- backward ----

struct NormGradients {
  View x, weight, bias;  // weight, bias: (leaves, C); each may be absent
};

enum class NormForm { plain, silu, constant };  // constant: the statistics are given, not those of x

// mean, rstd (units, groups) f32 packed; or one row for all units where they are constant.
// With z = fma(xhat, weight, bias) and dz the gradient of z:
//   dx = rstd fma(-xhat, mean(dz weight xhat), dz weight - mean(dz weight)), the means over the group, which are the row
//   sum of weight times the channel's sum, over count; dx = dz (weight rstd) where the statistics are constant;
//   dbias = column sum of dz, dweight = column sum of dz xhat: a unit's, then a chain of chunks of 512 units of a leaf.
template <class T, NormForm kForm>
void channel_norm_backward(Context& ctx, const ChannelGroups& g, int64_t images, const View& x_view,
                           const NormWeights& norm, const float* mean_of, const float* rstd_of, const View& dy_view,
                           const NormGradients& grad) {
  const int64_t leaf_units = g.units / ctx.leaves;
  CHECK(leaf_units * ctx.leaves == g.units, "{} units of statistics do not divide into {} leaves", g.units, ctx.leaves);
  const UnitRows<const T> x(x_view, pixel_rows(x_view, images, "x")), dy(dy_view, pixel_rows(dy_view, images, "dy"));
  const UnitScratch scratch{g, ctx.scratch_as<float>(size_t(g.units * g.unit_floats()))};
  auto rows_of = [&](int64_t k) { return std::min(kChainChunk, g.rows - k * kChainChunk); };
  enum { kMean, kRstd, kSum, kSumX, kMeanG, kMeanGX };

  if (g.units * g.rows * g.cols > 0) {
    const bool stream = grad.x && streams(grad.x);
    const UnitRows<T> dx(grad.x, grad.x ? pixel_rows(grad.x, images, "dx") : PixelRows{});
    // dx holds dz in between, where that loses nothing: half of the time goes into the sigmoid.
    constexpr bool kSilu = kForm == NormForm::silu, kKeepDz = kSilu && std::is_same_v<T, float>;
    const bool keep_dz = kKeepDz && grad.x;
    ctx.parallel(g.units, 1, [&](int64_t begin, int64_t end) {
      for (int64_t u = begin; u < end; u++)
        for (int64_t c = 0; c < g.cols; c++) {
          const int64_t group = (kForm == NormForm::constant ? 0 : u * g.groups) + c / g.width();
          scratch.channels(u, kMean)[c] = mean_of[group];
          scratch.channels(u, kRstd)[c] = rstd_of[group];
        }
    });
    auto sums = [&](int64_t u, int64_t k) {
      const float *mean = scratch.channels(u, kMean), *rstd = scratch.channels(u, kRstd);
      const T *x0 = x.row(u, k * kChainChunk), *dy0 = dy.row(u, k * kChainChunk);
      for_strips(g.cols, [&]<int V>(int64_t c, std::integral_constant<int, V>, auto n) {
        f32v sum[V] = {}, sum_x[V] = {}, m[V], rs[V];
        for (int j = 0; j < V; j++) m[j] = load_n(mean + c + j * W, n), rs[j] = load_n(rstd + c + j * W, n);
        for (int64_t r = 0; r < rows_of(k); r++) {
#pragma GCC unroll 4
          for (int j = 0; j < V; j++) {
            const int64_t i = c + j * W;
            const f32v xhat = (load_n(x0 + r * x.at.row_stride + i, n) - m[j]) * rs[j];
            f32v dz = load_n(dy0 + r * dy.at.row_stride + i, n);
            if (kSilu) dz = silu_backward(dz, fma(xhat, load_n(norm.weight + i, n), load_n(norm.bias + i, n)));
            if (keep_dz) store_n(dx.row(u, k * kChainChunk + r) + i, dz, n);
            sum[j] += dz;
            sum_x[j] = fma(dz, xhat, sum_x[j]);
          }
        }
        for (int j = 0; j < V; j++) {
          store_n(scratch.chunk(u, k, 0) + c + j * W, sum[j], n);
          store_n(scratch.chunk(u, k, 1) + c + j * W, sum_x[j], n);
        }
      });
    };
    auto merge = [&](int64_t u) {
      for (int which : {0, 1}) {
        float *sum = scratch.channels(u, kSum + which), *mean_g = scratch.channels(u, kMeanG + which);
        add_chunks(g, sum, [&](int64_t k, int64_t i, auto n) { return load_n(scratch.chunk(u, k, which) + i, n); });
        for_vectors(g.cols, [&](int64_t i, auto n) {
          store_n(scratch.chunk(u, 0, which) + i, load_n(norm.weight + i, n) * load_n(sum + i, n), n);
        });
        group_means(g, scratch.chunk(u, 0, which), mean_g);
      }
    };
    auto apply = [&](int64_t u, int64_t k) {
      if (!grad.x) return;
      const float *mean = scratch.channels(u, kMean), *rstd = scratch.channels(u, kRstd),
                  *mean_g = scratch.channels(u, kMeanG), *mean_gx = scratch.channels(u, kMeanGX);
      for (int64_t r = k * kChainChunk; r < k * kChainChunk + rows_of(k); r++) {
        const T *from = x.row(u, r), *dfrom = keep_dz ? dx.row(u, r) : dy.row(u, r);
        T* to = dx.row(u, r);
        for_vectors(g.cols, [&](int64_t i, auto n) {
          const f32v rs = load_n(rstd + i, n), xhat = (load_n(from + i, n) - load_n(mean + i, n)) * rs;
          const f32v weight = load_n(norm.weight + i, n);
          f32v dz = load_n(dfrom + i, n);
          if (kSilu && !kKeepDz) dz = silu_backward(dz, fma(xhat, weight, load_n(norm.bias + i, n)));
          put(to + i,
              kForm == NormForm::constant
                  ? dz * (weight * rs)
                  : rs * fma(-xhat, load_n(mean_gx + i, n), dz * weight - load_n(mean_g + i, n)),
              n, stream);
        });
      }
    };
    in_phases(ctx, g, 2 * x_view.bytes() / size_t(g.units), stream, sums, merge, apply);
  }

  auto add_units = [&](const View& to, int which) {
    if (!to) return;
    for (int64_t leaf = 0; leaf < ctx.leaves; leaf++)
      for_vectors(g.cols, [&](int64_t i, auto n) {
        f32v total{};
        for (int64_t first = 0; first < leaf_units; first += kChainChunk) {
          f32v sum{};
          for (int64_t u = first; u < std::min(first + kChainChunk, leaf_units); u++)
            sum += load_n(scratch.channels(leaf * leaf_units + u, which) + i, n);
          total = first ? total + sum : sum;
        }
        store_n(to.as<float>() + leaf * g.cols + i, total, n);
      });
  };
  add_units(grad.bias, kSum);
  add_units(grad.weight, kSumX);
}

}  // namespace dr::DR_ISA
