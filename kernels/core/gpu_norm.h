#pragma once
// Normalised rows on a device, the common part of AdaLN, LayerNorm and RmsNorm, as core/row_stats.h has it for the CPU: one
// group of 32 lanes a row, which the passes after the first find in the cache. Last include of a `.cu`, as gpu.h.

#include "kernels/core/gpu_rows.h"
#include "kernels/core/math.h"

namespace dr::DR_BACKEND {

// The gain and the shift of a row's columns. `rows` rows share a row of each; null: `absent`, for every column.
struct ModulationRows {
  const float* data = nullptr;
  int64_t stride = 0, rows = 1;
  float absent = 0, offset = 0;  // offset + value
  DR_DEVICE float operator()(int64_t r, int64_t c) const {
    return data ? offset + data[r / rows * stride + c] : absent;
  }
};

template <class T, class TY = T>
struct NormForward {
  RowsOf<const T> x;
  RowsOf<TY> y;
  float *mean, *rstd;  // mean null: not centred
  int64_t cols;
  float eps;
  ModulationRows gain, shift;

  DR_DEVICE void operator()(int64_t r) const {
    const T* const row = x.row(r);
    const float count = float(cols);
    const float m = mean ? row_reduce(cols, [&](float& acc, int64_t i) { acc += load1(row + i); }) / count : 0.f;
    const float square = row_reduce(cols, [&](float& acc, int64_t i) {
      const float d = load1(row + i) - m;
      acc = fma(d, d, acc);
    });
    const float rs = rsqrt(square / count + eps);
    for (int64_t i = lane_index(); i < cols; i += kGroup)
      store1(y.row(r) + i, fma((load1(row + i) - m) * rs, gain(r, i), shift(r, i)));
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
  ModulationRows gain;

  DR_DEVICE void operator()(int64_t r) const {
    const float count = float(cols), m = mean ? mean[r] : 0.f, rs = rstd[r];
    const T* const row = x.row(r);
    const TD* const d = dy.row(r);
    float sum_g = 0;
    if (mean) sum_g = row_reduce(cols, [&](float& acc, int64_t i) { acc += load1(d + i) * gain(r, i); });
    const float sum_gx = row_reduce(cols, [&](float& acc, int64_t i) {
      acc = fma(load1(d + i) * gain(r, i), (load1(row + i) - m) * rs, acc);
    });
    const float mean_g = mean ? sum_g / count : 0.f, mean_gx = sum_gx / count;
    for (int64_t i = lane_index(); i < cols; i += kGroup) {
      const float xhat = (load1(row + i) - m) * rs;
      const float own = rs * fma(-xhat, mean_gx, load1(d + i) * gain(r, i) - mean_g);
      store1(dx.row(r) + i, residual.data ? load1(residual.row(r) + i) + own : own);
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
    sums[0] = sums[0] + d;
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
