#include "kernels/ssim/ssim.h"

#include "kernels/ssim/ssim_math.h"

#include "kernels/core/reduce.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int K = Ssim::kWindow, M = Ssim::kMaps;
using Extent = Ssim::Extent;

// A chain over the eleven weights, `step` elements apart from p on.
DR_INLINE f32v filter(const float* p, int64_t step, const float* weight, auto n) {
  f32v sum{};
#pragma GCC unroll 11
  for (int64_t k = 0; k < K; k++) sum = fma(splat(weight[k]), load_n(p + k * step, n), sum);
  return sum;
}

// The maps of p, d, p p and d d over eleven rows of x and y, filtered down the columns.
template <class T>
void filter_down(const T* x, int64_t x_stride, const T* y, int64_t y_stride, int64_t row, const float* weight,
                 float* maps) {
  for_vectors(row, [&](int64_t i, auto n) {
    f32v sum[M] = {};
#pragma GCC unroll 11
    for (int k = 0; k < K; k++) {
      const f32v a = load_n(x + k * x_stride + i, n), b = load_n(y + k * y_stride + i, n), g = splat(weight[k]);
      const f32v p = a + b, d = a - b;
      sum[0] = fma(g, p, sum[0]), sum[1] = fma(g, d, sum[1]);
      sum[2] = fma(g, p * p, sum[2]), sum[3] = fma(g, d * d, sum[3]);
    }
    for (int m = 0; m < M; m++) store_n(maps + m * row + i, sum[m], n);
  });
}

// Maps as filter_down leaves them, i the window's first element.
DR_INLINE SsimWindow window_at(const float* maps, const Extent& e, const SsimSetting& s, int64_t i, auto n) {
  const int64_t step = e.margin / (K - 1);
  const auto mean = [&](int m) { return filter(maps + m * e.row + i, step, s.weight, n); };
  return {mean(0), mean(1), mean(2), mean(3), splat(s.c1), splat(s.c2)};
}

template <class T>
DR_INLINE const T* row_of(const View& v, int64_t n, int64_t i) {
  return static_cast<const T*>(v.data) + n * v.stride(0) + i * v.stride(1);
}

// f(slot, begin, end): the items in equal shares, one for each thread.
template <class F>
void for_shares(Context& ctx, int64_t items, F&& f) {
  const int64_t shares = std::min<int64_t>(items, ctx.threads());
  ctx.parallel(shares, 1, [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; s++) f(s, items * s / shares, items * (s + 1) / shares);
  });
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void Ssim::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  if (in.x.count() == 0) return;
  CHECK(out.value.packed(), "ssim: value must be packed");
  const Extent e(in.x);
  const SsimSetting setting(data_range);
  float* const slots = ctx.scratch_as<float>(size_t(ctx.threads() * e.slot() + e.images * e.out_rows));
  float* const row_sums = slots + ctx.threads() * e.slot();
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    for_shares(ctx, e.images * e.out_rows, [&](int64_t slot, int64_t begin, int64_t end) {
      float* maps = slots + slot * e.slot();
      for (int64_t r = begin; r < end; r++) {
        const int64_t n = r / e.out_rows, i = r % e.out_rows;
        filter_down(row_of<T>(in.x, n, i), in.x.stride(1), row_of<T>(in.y, n, i), in.y.stride(1), e.row, setting.weight,
                    maps);
        row_sums[r] = row_reduce(e.out_row, [&](f32v& acc, int64_t c, auto m) {
          acc += keep(window_at(maps, e, setting, c, m).value(), m);
        });
      }
    });
  });
  const float windows = float(e.out_rows * e.out_row);
  for (int64_t n = 0; n < e.images; n++)
    out.value.as<float>()[n] = row_sum(row_sums + n * e.out_rows, e.out_rows) / windows;
}

template <>
void Ssim::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout, const Grad& grad) const {
  if (in.x.count() == 0 || !(grad.x || grad.y)) return;
  CHECK((!grad.x || grad.x.packed()) && (!grad.y || grad.y.packed()), "ssim: gradients must be packed");
  const Extent e(in.x);
  const SsimSetting setting(data_range);
  const int64_t step = e.margin / (K - 1), batch = e.images_at_a_time();
  const float windows = float(e.out_rows * e.out_row);
  float* const slots = ctx.scratch_as<float>(size_t(ctx.threads() * e.slot() + batch * e.maps()));
  float* const coefficients = slots + ctx.threads() * e.slot();  // (image, row of windows, map, element of the row)

  auto pass = [&]<class T>(int64_t first, int64_t images) {
    // Coefficients of each window, filtered along the row: the window is symmetric, so a pixel's sum over the windows
    // that hold it is the same filter over the coefficients with ten zeros on either side.
    for_shares(ctx, images * e.out_rows, [&](int64_t slot, int64_t begin, int64_t end) {
      float *maps = slots + slot * e.slot(), *padded = maps + M * e.row;
      const int64_t width = e.row + e.margin;
      std::memset(padded, 0, size_t(M * width) * sizeof(float));
      for (int64_t r = begin; r < end; r++) {
        const int64_t n = first + r / e.out_rows, i = r % e.out_rows;
        filter_down(row_of<T>(in.x, n, i), in.x.stride(1), row_of<T>(in.y, n, i), in.y.stride(1), e.row, setting.weight,
                    maps);
        const f32v g = splat(dout.value.as<float>()[n * dout.value.stride(0)] / windows);
        for_vectors(e.out_row, [&](int64_t c, auto m) {
          const SsimCoefficients v(window_at(maps, e, setting, c, m), g, splat(setting.c1), splat(setting.c2));
          for (int k = 0; k < M; k++) store_n(padded + k * width + e.margin + c, v.v[k], m);
        });
        float* filtered = coefficients + r * M * e.row;
        for (int m = 0; m < M; m++)
          for_vectors(e.row, [&](int64_t c, auto n_c) {
            store_n(filtered + m * e.row + c, filter(padded + m * width + c, step, setting.weight, n_c), n_c);
          });
      }
    });
    // Down the columns: row i of the image lies in the windows that begin at rows i - 10 to i.
    ctx.parallel(images * e.rows, 1, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++) {
        const int64_t n = r / e.rows, i = r % e.rows;
        const int64_t top = std::max<int64_t>(0, i - (K - 1)), bottom = std::min(i, e.out_rows - 1);
        const T *x = row_of<T>(in.x, first + n, i), *y = row_of<T>(in.y, first + n, i);
        T* dx = grad.x ? static_cast<T*>(grad.x.data) + (first * e.rows + r) * e.row : nullptr;
        T* dy = grad.y ? static_cast<T*>(grad.y.data) + (first * e.rows + r) * e.row : nullptr;
        for_vectors(e.row, [&](int64_t c, auto m) {
          f32v sum[M] = {};
          for (int64_t k = top; k <= bottom; k++) {
            const float* from = coefficients + (n * e.out_rows + k) * M * e.row + c;
            const f32v g = splat(setting.weight[i - k]);
            for (int j = 0; j < M; j++) sum[j] = fma(g, load_n(from + j * e.row, m), sum[j]);
          }
          const SsimGradient g(load_n(x + c, m), load_n(y + c, m), sum);
          if (dx) store_n(dx + c, g.dx, m);
          if (dy) store_n(dy + c, g.dy, m);
        });
      }
    });
  };
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    for (int64_t first = 0; first < e.images; first += batch)
      pass.template operator()<T>(first, std::min(batch, e.images - first));
  });
}

}  // namespace dr
