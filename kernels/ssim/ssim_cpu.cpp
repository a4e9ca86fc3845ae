#include "kernels/ssim/ssim.h"

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

// What a window's value and gradient are made of; maps as filter_down leaves them, i the window's first element.
struct Window {
  f32v mean_p, mean_d, P, D, Vp, Vd, den_l, den_s, l, s;

  DR_INLINE Window(const float* maps, const Extent& e, const float* weight, f32v c1, f32v c2, int64_t i, auto n) {
    const int64_t step = e.margin / (K - 1);
    mean_p = filter(maps + i, step, weight, n), mean_d = filter(maps + e.row + i, step, weight, n);
    P = mean_p * mean_p, D = mean_d * mean_d;
    Vp = fma(-mean_p, mean_p, filter(maps + 2 * e.row + i, step, weight, n));
    Vd = fma(-mean_d, mean_d, filter(maps + 3 * e.row + i, step, weight, n));
    den_l = (P + D) + c1, den_s = (Vp + Vd) + c2;
    l = ((P - D) + c1) / den_l, s = ((Vp - Vd) + c2) / den_s;
  }
};

// Weights and twice the two constants.
struct Setting {
  std::array<float, K> weight = Ssim::window();
  f32v c1, c2;
  explicit Setting(float range) {
    const float a = 0.01f * range, b = 0.03f * range;
    c1 = splat(2 * (a * a)), c2 = splat(2 * (b * b));
  }
};

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
  const Setting setting(data_range);
  const float* weight = setting.weight.data();
  float* const slots = ctx.scratch_as<float>(size_t(ctx.threads() * e.slot() + e.images * e.out_rows));
  float* const row_sums = slots + ctx.threads() * e.slot();
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    for_shares(ctx, e.images * e.out_rows, [&](int64_t slot, int64_t begin, int64_t end) {
      float* maps = slots + slot * e.slot();
      for (int64_t r = begin; r < end; r++) {
        const int64_t n = r / e.out_rows, i = r % e.out_rows;
        filter_down(row_of<T>(in.x, n, i), in.x.stride(1), row_of<T>(in.y, n, i), in.y.stride(1), e.row, weight, maps);
        row_sums[r] = row_reduce(e.out_row, [&](f32v& acc, int64_t c, auto m) {
          const Window v(maps, e, weight, setting.c1, setting.c2, c, m);
          acc += keep(v.l * v.s, m);
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
  const Setting setting(data_range);
  const float* weight = setting.weight.data();
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
        filter_down(row_of<T>(in.x, n, i), in.x.stride(1), row_of<T>(in.y, n, i), in.y.stride(1), e.row, weight, maps);
        const f32v g = splat(dout.value.as<float>()[n * dout.value.stride(0)] / windows);
        for_vectors(e.out_row, [&](int64_t c, auto m) {
          const Window v(maps, e, weight, setting.c1, setting.c2, c, m);
          const f32v square_l = v.den_l * v.den_l, square_s = v.den_s * v.den_s;
          const f32v c_p = g * (v.l * (v.Vd + v.Vd)) / square_s;
          const f32v rest = v.Vp + setting.c2, bright = v.P + setting.c1;
          const f32v c_d = -(g * (v.l * (rest + rest)) / square_s);
          float* to = padded + e.margin + c;
          store_n(to, (v.mean_p + v.mean_p) * (g * (v.s * (v.D + v.D)) / square_l - c_p), m);
          store_n(to + width, -((v.mean_d + v.mean_d) * (g * (v.s * (bright + bright)) / square_l + c_d)), m);
          store_n(to + 2 * width, c_p, m);
          store_n(to + 3 * width, c_d, m);
        });
        float* filtered = coefficients + r * M * e.row;
        for (int m = 0; m < M; m++)
          for_vectors(e.row, [&](int64_t c, auto n_c) {
            store_n(filtered + m * e.row + c, filter(padded + m * width + c, step, weight, n_c), n_c);
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
            const f32v g = splat(weight[i - k]);
            for (int j = 0; j < M; j++) sum[j] = fma(g, load_n(from + j * e.row, m), sum[j]);
          }
          const f32v a = load_n(x + c, m), b = load_n(y + c, m), p = a + b, d = a - b;
          const f32v dp = fma(p + p, sum[2], sum[0]), dd = fma(d + d, sum[3], sum[1]);
          if (dx) store_n(dx + c, dp + dd, m);
          if (dy) store_n(dy + c, dp - dd, m);
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
