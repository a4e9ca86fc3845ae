#include "kernels/ssim/ssim.h"

#include "kernels/ssim/ssim_math.h"

#include "kernels/core/gpu_rows.h"

namespace dr {
namespace DR_BACKEND {
namespace {

constexpr int K = Ssim::kWindow, M = Ssim::kMaps;

// Sizes in elements, as Ssim::Extent has them.
struct Lengths {
  int64_t row, out_row, rows, out_rows, step;  // step: channels
  explicit Lengths(const Ssim::Extent& e)
      : row(e.row), out_row(e.out_row), rows(e.rows), out_rows(e.out_rows), step(e.margin / (K - 1)) {}
};

// Rows of the images of a call, from one image on.
template <class T>
struct Rows {
  const T* data;
  int64_t image, row;
  Rows(const View& v, int64_t first)
      : data(static_cast<const T*>(v.data) + first * v.stride(0)), image(v.stride(0)), row(v.stride(1)) {}
  DR_DEVICE const T* at(int64_t n, int64_t i) const { return data + n * image + i * row; }
};

// The maps of p, d, p p and d d, filtered down the columns: (image, row of windows, map, element of the row). A thread
// makes kAtOnce rows, whose windows share most of what it reads.
constexpr int kAtOnce = 4;
template <class T>
struct FilterDown {
  Lengths e;
  SsimSetting setting;
  Rows<T> x, y;
  float* maps;

  static int64_t items(const Lengths& e, int64_t images) {
    return images * ((e.out_rows + kAtOnce - 1) / kAtOnce) * e.row;
  }
  DR_DEVICE void operator()(int64_t item) const {
    const int64_t strips = (e.out_rows + kAtOnce - 1) / kAtOnce, strip = item / e.row, c = item % e.row;
    const int64_t n = strip / strips, first = strip % strips * kAtOnce;
    float sum[kAtOnce][M] = {};
    DR_UNROLL
    for (int k = 0; k < K + kAtOnce - 1; k++) {
      if (first + k >= e.rows) break;
      const float a = load1(x.at(n, first + k) + c), b = load1(y.at(n, first + k) + c);
      const float p = a + b, d = a - b, pp = p * p, dd = d * d;
      DR_UNROLL
      for (int r = 0; r < kAtOnce; r++) {
        if (k < r || k - r >= K) continue;
        const float g = setting.weight[k - r];
        sum[r][0] = fma(g, p, sum[r][0]), sum[r][1] = fma(g, d, sum[r][1]);
        sum[r][2] = fma(g, pp, sum[r][2]), sum[r][3] = fma(g, dd, sum[r][3]);
      }
    }
    DR_UNROLL
    for (int r = 0; r < kAtOnce; r++) {
      if (first + r >= e.out_rows) break;
      float* const to = maps + (n * e.out_rows + first + r) * M * e.row + c;
      DR_UNROLL
      for (int m = 0; m < M; m++) to[m * e.row] = sum[r][m];
    }
  }
};

// Window c of row r (of all images) from the maps.
DR_DEVICE SsimWindow window_at(const float* maps, const Lengths& e, const SsimSetting& s, int64_t r, int64_t c) {
  float mean[M];
  DR_UNROLL
  for (int m = 0; m < M; m++) {
    const float* const from = maps + (r * M + m) * e.row + c;
    float sum = 0;
    DR_UNROLL
    for (int k = 0; k < K; k++) sum = fma(s.weight[k], from[k * e.step], sum);
    mean[m] = sum;
  }
  return {mean[0], mean[1], mean[2], mean[3], s.c1, s.c2};
}

struct WindowValue {
  Lengths e;
  SsimSetting setting;
  const float* maps;
  float* value;
  DR_DEVICE void operator()(int64_t i) const {
    value[i] = window_at(maps, e, setting, i / e.out_row, i % e.out_row).value();
  }
};

// sum[r] = what a row of `cols` sums to, over `divisor`; by a group.
struct RowSum {
  const float* from;
  int64_t cols;
  float divisor;
  float* sum;
  DR_DEVICE void operator()(int64_t r) const {
    const float* const row = from + r * cols;
    const float total = row_reduce(cols, [&](float& acc, int64_t i) { acc = acc + row[i]; });
    if (lane_index() == 0) sum[r] = total / divisor;
  }
};

// The windows' coefficients: (image, row of windows, map, window).
struct Coefficients {
  Lengths e;
  SsimSetting setting;
  const float *maps, *dvalue;
  int64_t dvalue_stride;
  float windows;
  float* to;
  DR_DEVICE void operator()(int64_t i) const {
    const int64_t r = i / e.out_row, c = i % e.out_row;
    const float g = dvalue[r / e.out_rows * dvalue_stride] / windows;
    const SsimCoefficients v(window_at(maps, e, setting, r, c), g, setting.c1, setting.c2);
    DR_UNROLL
    for (int m = 0; m < M; m++) to[(r * M + m) * e.out_row + c] = v.v[m];
  }
};

// Their sums over the windows that hold an element, along the row: there are zeros on either side of a row of windows.
struct FilterAlong {
  Lengths e;
  SsimSetting setting;
  const float* from;
  float* to;
  DR_DEVICE void operator()(int64_t i) const {
    const int64_t c = i % e.row;
    const float* const row = from + i / e.row * e.out_row;
    float sum = 0;
    DR_UNROLL
    for (int k = 0; k < K; k++) {
      const int64_t at = c + (k - (K - 1)) * e.step;
      sum = fma(setting.weight[k], at >= 0 && at < e.out_row ? row[at] : 0.f, sum);
    }
    to[i] = sum;
  }
};

// And down the columns: row i of an image lies in the windows that begin at rows i - 10 to i.
template <class T>
struct PixelGradient {
  Lengths e;
  SsimSetting setting;
  Rows<T> x, y;
  const float* filtered;
  T *dx, *dy;  // null: not wanted

  DR_DEVICE void operator()(int64_t item) const {
    const int64_t r = item / e.row, c = item % e.row, n = r / e.rows, i = r % e.rows;
    float sum[M] = {};
    DR_UNROLL
    for (int k = 0; k < K; k++) {
      const int64_t from = i - (K - 1) + k;
      if (from < 0 || from >= e.out_rows) continue;
      const float* const row = filtered + (n * e.out_rows + from) * M * e.row + c;
      DR_UNROLL
      for (int m = 0; m < M; m++) sum[m] = fma(setting.weight[K - 1 - k], row[m * e.row], sum[m]);
    }
    const SsimGradient g(load1(x.at(n, i) + c), load1(y.at(n, i) + c), sum);
    if (dx) store1(dx + item, g.dx);
    if (dy) store1(dy + item, g.dy);
  }
};

// f(first, images) for a call's images, some at a time.
template <class F>
void for_batches(const Ssim::Extent& e, F&& f) {
  for (int64_t first = 0; first < e.images; first += e.images_at_a_time())
    f(first, std::min(e.images_at_a_time(), e.images - first));
}

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void Ssim::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  if (in.x.count() == 0) return;
  CHECK(out.value.packed(), "ssim: value must be packed");
  const Extent extent(in.x);
  const Lengths e(extent);
  const SsimSetting setting(data_range);
  float* const row_sums = ctx.scratch_as<float>(device_scratch_bytes(in) / sizeof(float));
  float* const maps = row_sums + extent.images * e.out_rows;
  float* const values = maps + extent.images_at_a_time() * extent.maps();
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    for_batches(extent, [&](int64_t first, int64_t images) {
      for_each(ctx, FilterDown<T>::items(e, images),
               FilterDown<T>{e, setting, Rows<T>(in.x, first), Rows<T>(in.y, first), maps});
      for_each(ctx, images * extent.windows(), WindowValue{e, setting, maps, values});
      for_rows(ctx, images * e.out_rows, RowSum{values, e.out_row, 1, row_sums + first * e.out_rows});
    });
  });
  for_rows(ctx, extent.images, RowSum{row_sums, e.out_rows, float(extent.windows()), out.value.as<float>()});
}

template <>
void Ssim::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout, const Grad& grad) const {
  if (in.x.count() == 0 || !(grad.x || grad.y)) return;
  CHECK((!grad.x || grad.x.packed()) && (!grad.y || grad.y.packed()), "ssim: gradients must be packed");
  const Extent extent(in.x);
  const Lengths e(extent);
  const SsimSetting setting(data_range);
  float* const maps = ctx.scratch_as<float>(device_scratch_bytes(in) / sizeof(float));
  float* const coefficients = maps + extent.images_at_a_time() * extent.maps();
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    for_batches(extent, [&](int64_t first, int64_t images) {
      const Rows<T> x(in.x, first), y(in.y, first);
      const auto gradient = [&](const View& v) {
        return v ? static_cast<T*>(v.data) + first * e.rows * e.row : nullptr;
      };
      for_each(ctx, FilterDown<T>::items(e, images), FilterDown<T>{e, setting, x, y, maps});
      for_each(ctx, images * extent.windows(),
               Coefficients{e, setting, maps, dout.value.as<float>() + first * dout.value.stride(0),
                            dout.value.stride(0), float(extent.windows()), coefficients});
      for_each(ctx, images * extent.maps(), FilterAlong{e, setting, coefficients, maps});
      for_each(ctx, images * e.rows * e.row,
               PixelGradient<T>{e, setting, x, y, maps, gradient(grad.x), gradient(grad.y)});
    });
  });
}

}  // namespace dr
