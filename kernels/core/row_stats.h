#pragma once
// Normalised rows, the common part of AdaLN, LayerNorm and RmsNorm: y = fma(xhat, gain, shift), xhat = (x - mean) rstd,
// where gain and shift are the op's business. A row is read from memory once, and from the first cache in its further passes;
// the next row is prefetched meanwhile, since no hardware prefetcher looks past the passes over this one.
// Last include of a `_cpu.cpp`, as simd.h.

#include <algorithm>
#include <array>
#include <limits>
#include <utility>
#include <vector>

#include "kernels/core/column_sums.h"
#include "kernels/core/math.h"

namespace dr::DR_ISA {

// Two row sums, each as row_reduce, in one pass: term(acc_a, acc_b, i, n).
template <class F>
DR_INLINE std::pair<float, float> row_reduce2(int64_t count, F&& term) {
  auto block = [&](int64_t begin, int64_t end) {
    Lanes a, b;
    int64_t i = begin;
    for (; i + 32 <= end; i += 32) {
#pragma GCC unroll 8
      for (int j = 0; j < 32 / W; j++) term(a.acc[j], b.acc[j], i + j * W, std::integral_constant<int, W>{});
    }
#pragma GCC unroll 8
    for (int j = 0; j < 32 / W; j++) {
      const int64_t n = end - (i + j * W);
      if (n >= W) term(a.acc[j], b.acc[j], i + j * W, std::integral_constant<int, W>{});
      else if (n > 0) term(a.acc[j], b.acc[j], i + j * W, int(n));
    }
    return std::pair{a.total(), b.total()};
  };
  if (count <= kRowBlock) return block(0, count);
  std::vector<float> a, b;
  for (int64_t begin = 0; begin < count; begin += kRowBlock) {
    const auto [sum_a, sum_b] = block(begin, std::min(begin + kRowBlock, count));
    a.push_back(sum_a), b.push_back(sum_b);
  }
  return {tree_sum(a.data(), int64_t(a.size())), tree_sum(b.data(), int64_t(b.size()))};
}

// A row's function (i, n) -> f32v that is the same for every row: `absent` where there is no view.
struct PerColumn {
  const float* p;
  float absent;
  explicit PerColumn(const View& v, float absent_) : p(v ? v.as<float>() : nullptr), absent(absent_) {}
  DR_INLINE auto operator()(int64_t) const {
    return [p = p, other = splat(absent)](int64_t i, auto n) { return p ? load_n(p + i, n) : other; };
  }
};

// y = fma(xhat, gain, shift) of one row.
template <class T, class TY, class Gain, class Shift>
DR_INLINE void norm_row(const T* x, TY* y, int64_t cols, float mean, float rstd, const Gain& gain, const Shift& shift,
                        bool stream) {
  const f32v m = splat(mean), rs = splat(rstd);
  for_vectors(cols, [&](int64_t i, auto n) {
    put(y + i, fma((load_n(x + i, n) - m) * rs, gain(i, n), shift(i, n)), n, stream);
  });
}

// gain(r) and shift(r) give a row's function (i, n) -> f32v. An absent mean: not centred (its value is 0). y holds TY.
template <class T, class TY = T, class Gain, class Shift>
void norm_forward(Context& ctx, const View& x_view, float eps, Gain&& gain, Shift&& shift, const View& y_view,
                  const View& mean_out, const View& rstd_out) {
  const int64_t cols = x_view.size(1);
  const float count = float(cols);
  const bool stream = streams(y_view), centre = mean_out.present();
  ctx.parallel(x_view.size(0), kRowsPerPiece, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const T* x = row_of<const T>(x_view, r);
      const float mean = centre ? row_sum(x, cols) / count : 0.f;
      const f32v m = splat(mean);
      const T* next = x + x_view.stride(0);  // a prefetch past the end does nothing
      const float square = row_reduce(cols, [&](f32v& acc, int64_t i, auto n) {
        const f32v d = keep(load_n(x + i, n) - m, n);
        acc = fma(d, d, acc);
        __builtin_prefetch(next + i);
      });
      const float rstd = rsqrt(square / count + eps);
      norm_row(x, row_of<TY>(y_view, r), cols, mean, rstd, gain(r), shift(r), stream);
      if (centre) mean_out.as<float>()[r] = mean;
      rstd_out.as<float>()[r] = rstd;
    }
    stream_fence(stream);
  });
}

// y again, from the saved statistics.
template <class T, class TY, class Gain, class Shift>
void norm_again(Context& ctx, const View& x, const View& mean, const View& rstd, Gain&& gain, Shift&& shift,
                const View& y) {
  ctx.parallel(x.size(0), kRowsPerPiece, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++)
      norm_row(row_of<const T>(x, r), row_of<TY>(y, r), x.size(1), mean ? mean.as<float>()[r] : 0.f,
               rstd.as<float>()[r], gain(r), shift(r), false);
  });
}

// What backward reads and writes; dshift and dgain are (groups, C) f32. mean, residual, dx, dshift, dgain may be
// absent.
struct NormBackward {
  View x, mean, rstd, dy;
  View dx, dshift, dgain;
  RowGroups groups;
  View residual{};  // added to dx: the gradient of x on its way round the normalisation
};

// One row: g = dy * gain; dx = rstd * ((g - sum(g)/C) - xhat * (sum(g * xhat)/C)); dshift += dy; dgain += dy * xhat.
// x, residual and dx hold T, dy holds TD.
template <class T, class TD = T, class Gain>
void norm_backward(Context& ctx, const NormBackward& v, Gain&& gain) {
  const int64_t cols = v.groups.cols;
  const float count = float(cols);
  const bool stream = v.dx && streams(v.dx), centre = v.mean.present();
  const float *mean = centre ? v.mean.as<float>() : nullptr, *rstd = v.rstd.as<float>();

  auto columns = [&](int64_t r, int64_t begin, int64_t end, const Sums<2>& sums) {
    const T* x = row_of<const T>(v.x, r) + begin;
    const TD* dy = row_of<const TD>(v.dy, r) + begin;
    const f32v m = splat(centre ? mean[r] : 0.f), rs = splat(rstd[r]);
    const auto [dshift, dgain] = sums;
    for_vectors(end - begin, [&, dshift = dshift, dgain = dgain](int64_t i, auto n) {
      const f32v d = load_n(dy + i, n);
      if (dshift) store_n(dshift + i, load_n(dshift + i, n) + d, n);
      if (dgain) store_n(dgain + i, fma(d, (load_n(x + i, n) - m) * rs, load_n(dgain + i, n)), n);
    });
  };
  auto row = [&](int64_t r, const Sums<2>& sums) {
    if (v.dx) {
      const T *x = row_of<const T>(v.x, r), *residual = v.residual ? row_of<const T>(v.residual, r) : nullptr;
      const TD* dy = row_of<const TD>(v.dy, r);
      T* dx = row_of<T>(v.dx, r);
      const f32v m = splat(centre ? mean[r] : 0.f), rs = splat(rstd[r]);
      const auto weight = gain(r);
      const T* next_x = x + v.x.stride(0);
      const TD* next_dy = dy + v.dy.stride(0);
      const auto [sum_g, sum_gx] = row_reduce2(cols, [&](f32v& a, f32v& b, int64_t i, auto n) {
        const f32v g = load_n(dy + i, n) * weight(i, n), xhat = (load_n(x + i, n) - m) * rs;
        a += keep(g, n);
        b = fma(g, keep(xhat, n), b);
      });
      const f32v mean_g = splat(centre ? sum_g / count : 0.f), mean_gx = splat(sum_gx / count);
      const auto [dshift, dgain] = sums;
      const bool both = dshift && dgain;
      for_vectors(cols, [&, dshift = dshift, dgain = dgain](int64_t i, auto n) {
        const f32v d = load_n(dy + i, n), xhat = (load_n(x + i, n) - m) * rs;
        const f32v own = rs * fma(-xhat, mean_gx, d * weight(i, n) - mean_g);
        put(dx + i, residual ? load_n(residual + i, n) + own : own, n, stream);
        if (both) {
          store_n(dshift + i, load_n(dshift + i, n) + d, n);
          store_n(dgain + i, fma(d, xhat, load_n(dgain + i, n)), n);
        }
        __builtin_prefetch(next_x + i);
        __builtin_prefetch(next_dy + i);
      });
      if (both) return;
    }
    if (sums[0] || sums[1]) columns(r, 0, cols, sums);
  };
  rows_and_column_sums<2>(ctx, v.groups, {v.dshift, v.dgain}, stream, row, columns);
}

}  // namespace dr::DR_ISA
