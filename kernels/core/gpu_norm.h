#pragma once
// Normalised rows on a device, the common part of AdaLN, LayerNorm and RmsNorm, as core/row_stats.h has it for the CPU: one
// group of 32 lanes a row, which the passes after the first find in the cache. Last include of a `.cu`, as gpu.h.

#include "kernels/core/gpu_rows.h"
#include "kernels/core/math.h"

namespace dr::DR_BACKEND {

// The gain and the shift of a row's columns. `rows` rows share a row of each; null: `absent`, for every column.
struct ModulationRow {
  const float* data;
  float absent, offset;
  DR_DEVICE float operator()(int64_t c) const { return data ? offset + data[c] : absent; }
};
struct ModulationRows {
  const float* data = nullptr;
  int64_t stride = 0, rows = 1;
  float absent = 0, offset = -0.f;  // offset + value; -0 changes no value
  DR_DEVICE ModulationRow row(int64_t r) const { return {data ? data + r / rows * stride : nullptr, absent, offset}; }
  DR_DEVICE float operator()(int64_t r, int64_t c) const { return row(r)(c); }
};
// The same for every row: (C), or absent.
inline ModulationRows per_column(const View& v, float absent) {
  return {.data = v ? v.as<float>() : nullptr, .absent = absent};
}

template <class T, class TY = T>
struct NormForward {
  RowsOf<const T> x;
  RowsOf<TY> y;
  float *mean, *rstd;  // mean null: not centred
  int64_t cols;
  float eps;
  ModulationRows gains, shifts;

  DR_DEVICE void operator()(int64_t r) const {
    const T* const row = x.row(r);
    TY* const out = y.row(r);
    const float count = float(cols);
    const float m = mean ? row_reduce(cols, [&](float& acc, int64_t i) { acc += load1(row + i); }) / count : 0.f;
    const float square = row_reduce(cols, [&](float& acc, int64_t i) {
      const float d = load1(row + i) - m;
      acc = fma(d, d, acc);
    });
    const float rs = rsqrt(square / count + eps);
    const ModulationRow gain = gains.row(r), shift = shifts.row(r);
    for (int64_t i = lane_index(); i < cols; i += kGroup)
      store1(out + i, fma((load1(row + i) - m) * rs, gain(i), shift(i)));
    if (lane_index() != 0) return;
    if (mean) mean[r] = m;
    rstd[r] = rs;
  }
};

// What backward reads and writes, as core/row_stats.h says.
struct NormBackward {
  View x, mean, rstd, dy;
  View dx, dshift, dgain;
  RowGroups groups;
  View residual{};
};

template <class T, class TD>
struct NormBackwardRow {
  RowsOf<const T> x, residual;  // residual.data null: none
  RowsOf<const TD> dy;
  RowsOf<T> dx;
  const float *mean, *rstd;
  int64_t cols;
  ModulationRows gains;

  DR_DEVICE void operator()(int64_t r) const {
    const float count = float(cols), m = mean ? mean[r] : 0.f, rs = rstd[r];
    const T *const row = x.row(r), *const own_way = residual.data ? residual.row(r) : nullptr;
    const TD* const d = dy.row(r);
    T* const out = dx.row(r);
    const ModulationRow gain = gains.row(r);
    const TwoSums sums = row_reduce2(cols, [&](float& sum_g, float& sum_gx, int64_t i) {
      const float g = load1(d + i) * gain(i);
      sum_g += g;
      sum_gx = fma(g, (load1(row + i) - m) * rs, sum_gx);
    });
    const float mean_g = mean ? sums.a / count : 0.f, mean_gx = sums.b / count;
    for (int64_t i = lane_index(); i < cols; i += kGroup) {
      const float xhat = (load1(row + i) - m) * rs;
      const float v = rs * fma(-xhat, mean_gx, load1(d + i) * gain(i) - mean_g);
      store1(out + i, own_way ? load1(own_way + i) + v : v);
    }
  }
};

template <class T, class TD>
struct NormBackwardColumn {
  RowsOf<const T> x;
  RowsOf<const TD> dy;
  const float *mean, *rstd;
  DR_DEVICE void operator()(int64_t r, int64_t c, float (&sums)[2]) const {
    const float d = load1(dy.row(r) + c);
    sums[0] += d;
    sums[1] = fma(d, (load1(x.row(r) + c) - (mean ? mean[r] : 0.f)) * rstd[r], sums[1]);
  }
};

// An absent mean: not centred. y holds TY.
template <class T, class TY = T>
void norm_forward(const Context& ctx, const View& x, float eps, const ModulationRows& gain, const ModulationRows& shift,
                  const View& y, const View& mean, const View& rstd) {
  for_rows(ctx, x.size(0),
           NormForward<T, TY>{rows_of<const T>(x), rows_of<TY>(y), mean ? mean.as<float>() : nullptr, rstd.as<float>(),
                              x.size(1), eps, gain, shift});
}

template <class T, class TD = T>
void norm_backward(const Context& ctx, const NormBackward& v, const ModulationRows& gain) {
  const float *const mean = v.mean ? v.mean.as<float>() : nullptr, *const rstd = v.rstd.as<float>();
  const RowsOf<const T> x = rows_of<const T>(v.x);
  const RowsOf<const TD> dy = rows_of<const TD>(v.dy);
  if (v.dx)
    for_rows(ctx, v.x.size(0),
             NormBackwardRow<T, TD>{x, v.residual ? rows_of<const T>(v.residual) : RowsOf<const T>{}, dy, rows_of<T>(v.dx),
                                    mean, rstd, v.groups.cols, gain});
  const View grads[] = {v.dshift, v.dgain};
  column_sums(ctx, v.groups, grads, NormBackwardColumn<T, TD>{x, dy, mean, rstd});
}

}  // namespace dr::DR_BACKEND
