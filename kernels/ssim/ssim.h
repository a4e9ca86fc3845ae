#pragma once
// Structural similarity of two images: 1 where they are equal, the mean over all windows that lie wholly inside.
//
//   value[n] = mean over channels and (H - 10)(W - 10) windows of
//     (2 mu_x mu_y + C1)(2 s_xy + C2) / ((mu_x^2 + mu_y^2 + C1)(s_xx + s_yy + C2)),  C1 = (0.01 L)^2, C2 = (0.03 L)^2
//   mu, s: means, variances, covariance under an 11 x 11 Gaussian window of deviation 1.5; L = data_range
//
//   x, y (N,H,W,C) f32|bf16 alike, packed but for axes 0 and 1, which may be strided    value (N) f32
// Computed from the sum p = x + y and the difference d = x - y, which takes four filters instead of five and cancels
// less where the images agree. With P = mu_p^2, V_p = E[p^2] - P, and so for d, it equals l s,
//     l = ((P - D) + 2 C1) / ((P + D) + 2 C1)        s = ((V_p - V_d) + 2 C2) / ((V_p + V_d) + 2 C2)
// Order: E[.] is an fma chain over the window's rows, ascending, of w[i] times p, d, p p, d d, then one over its
//   columns. V = fma(-mu, mu, E). Canonical sum of l s over a row of windows (columns and channels), canonical sum of
//   the rows' sums, one division. w[i] = e[i] / (e[0] + ... + e[10]), added in ascending order, on the host, with
//   e[i] = exp(-(i - 5)^2 / 4.5) correctly rounded.
// value is exactly 1 for x = y: numerators and denominators have the same bits.
// backward, with g = dvalue[n] / windows and n_l, n_s the denominators above:
//     c_p =  g (l 2 V_d) / n_s^2            a_p = 2 mu_p (g (s 2 D) / n_l^2 - c_p)
//     c_d = -g (l 2 (V_p + 2 C2)) / n_s^2   a_d = -2 mu_d (g (s 2 (P + 2 C1)) / n_l^2 + c_d)
//   on every window; F their sum over the windows that hold a pixel, weighted as E, along the row first;
//   dp = fma(2 p, F(c_p), F(a_p)), dd = fma(2 d, F(c_d), F(a_d)); dx = dp + dd, dy = dp - dd.
// Variances are differences: their error is up to 2^-17 of the mean square, and the gradient of a flat part, where its
// terms cancel, is good to about 2^-20 |p| / (C2 windows) absolutely.
// Deterministic, independent of N. Throws unless H and W are at least 11, C at least 1 and data_range positive.
// Source: Wang et al. 2004, "Image Quality Assessment: From Error Visibility to Structural Similarity".

#include <algorithm>
#include <array>

#include "kernels/core/host_math.h"
#include "kernels/core/op.h"

namespace dr {

struct Ssim {
  static constexpr std::string_view name = "ssim";
  float data_range = 2;  // L: 2 for images in [-1, 1], 1 for [0, 1], 255 for bytes

  static constexpr int kWindow = 11;
  static constexpr int kMaps = 4;  // of p, d, p p, d d; of their coefficients in backward

  struct In { View x, y; static constexpr auto names = fields("x", "y"); };
  struct Out { View value; static constexpr auto names = fields("value"); };
  struct OutGrad { View value; static constexpr auto names = fields("value"); };
  struct Grad { View x, y; static constexpr auto names = fields("x", "y"); };

  static std::array<float, kWindow> window() {
    std::array<float, kWindow> w;
    float sum = 0;
    for (int i = 0; i < kWindow; i++) sum += w[size_t(i)] = canonical::exp(float(-(i - 5) * (i - 5)) / 4.5f);
    for (float& v : w) v /= sum;
    return w;
  }

  Shapes infer(const In& in) const {
    CHECK(in.x.rank() == 4 && in.x.size(1) >= kWindow && in.x.size(2) >= kWindow && in.x.size(3) >= 1,
          "ssim: x must be (N,H,W,C) with H and W at least {} and C at least 1, got {}", kWindow, to_string(in.x));
    expect_float(in.x, "ssim: x");
    expect_sizes(in.y, in.x.sizes, "ssim: y");
    CHECK(in.y.dtype == in.x.dtype, "ssim: x and y must have one dtype, got {} and {}", to_string(in.x),
          to_string(in.y));
    CHECK(in.x.packed(2) && in.y.packed(2), "ssim: rows of x and y must be packed");
    CHECK(data_range > 0, "ssim: data_range must be positive, got {}", data_range);
    return {{DType::f32, {in.x.size(0)}}};
  }

  // Sizes in elements; `row` is one of an image, `out_row` one of windows.
  struct Extent {
    int64_t images, row, out_row, rows, out_rows, margin;
    explicit Extent(const View& x)
        : images(x.size(0)), row(x.size(2) * x.size(3)), out_row(row - (kWindow - 1) * x.size(3)), rows(x.size(1)),
          out_rows(rows - (kWindow - 1)), margin((kWindow - 1) * x.size(3)) {}
    int64_t slot() const { return kMaps * (2 * row + margin); }  // a thread's rows: filtered, and padded coefficients
    int64_t maps() const { return kMaps * out_rows * row; }      // an image's coefficients, filtered along the row
    int64_t windows() const { return out_rows * out_row; }
    int64_t images_at_a_time() const {                           // in backward: maps of 16 MiB, or of one image
      return std::clamp<int64_t>((int64_t{1} << 22) / maps(), 1, std::max<int64_t>(1, images));
    }
  };
  size_t scratch_bytes(const In& in, int threads) const {
    const Extent e(in.x);
    const int64_t shared = std::max(e.images * e.out_rows, e.images_at_a_time() * e.maps());
    return size_t(threads * e.slot() + shared) * sizeof(float);
  }
  // Devices: of some images at a time what is filtered along one axis, and the windows' values or coefficients; all row
  // sums.
  size_t device_scratch_bytes(const In& in) const {
    const Extent e(in.x);
    return size_t(e.images_at_a_time() * (e.maps() + kMaps * e.windows()) + e.images * e.out_rows) * sizeof(float);
  }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // A moment is off by 65 u of its mean square (see the reference). That enters a variance three times, each
  // coefficient holds the variances about four times (l or s, squared denominator, V), and is filtered again for
  // another 64. Holds where the variance within a window is no less than its mean square, as in the cases' data.
  double gradient_k(const In&) const { return 65 * 3 * 4 + 64; }
  Cost cost(const In& in) const {
    const Extent e(in.x);
    const double down = double(e.images * e.out_rows * e.row), along = double(e.images * e.out_rows * e.out_row);
    return traffic(12.0 * kWindow * down + (8.0 * kWindow + 19) * along, in, infer(in));
  }
  Cost backward_cost(const In& in) const {
    const Extent e(in.x);
    const double down = double(e.images * e.out_rows * e.row), along = double(e.images * e.out_rows * e.out_row);
    return backward_traffic((12.0 + 8 + 8) * kWindow * down + (8.0 * kWindow + 40) * along, in, infer(in));
  }

  static std::vector<Case<Ssim>> cases() {
    auto make = [](Sizes s, DType t, float range, Input x, Input y, std::string_view what = "", bool bench = false) {
      x.sizes = y.sizes = s;
      return Case<Ssim>({range}, {.name = format("{},{}{}", to_string(s), name_of(t), what),
                                  .in = {x.as(t), y.as(t)},
                                  .samples = bench ? 1 : int(std::max<int64_t>(1, s[0])),
                                  .bench = bench});
    };
    const Input x = normal({}, 0.1, 0.5), y = normal({}, -0.1, 0.4);
    std::vector<Case<Ssim>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make({2, 14, 15, 3}, t, 2, x, y));
      list.push_back(make({1, 11, 11, 1}, t, 2, x, y));
      list.push_back(make({1, 31, 33, 1}, t, 2, x, y));
    }
    list.push_back(make({5, 11, 17, 7}, DType::f32, 2, x, y));
    list.push_back(make({2, 12, 13, 5}, DType::f32, 1, uniform({}, 0, 1), uniform({}, 0, 1), ",unit range"));
    list.push_back(make({2, 13, 12, 3}, DType::f32, 255, uniform({}, 0, 255), uniform({}, 0, 255), ",bytes"));
    list.push_back(make({0, 12, 12, 3}, DType::f32, 2, x, y));
    list.push_back(make({1, 13, 44, 33}, DType::f32, 2, x, y, ",long rows"));
    list.back().gradient = false;  // for time: 1500 pixels, 99 windows each
    // Equal images, where every window is at its maximum and the gradient is zero.
    list.push_back(make({2, 13, 14, 2}, DType::f32, 2, values({}, {0.5, -0.25, 0.75, 1, -1, 0, 0.125}),
                        values({}, {0.5, -0.25, 0.75, 1, -1, 0, 0.125}), ",equal"));
    list.back().gradient = false;
    list.push_back(make({2, 13, 14, 2}, DType::f32, 2, values({}, {0.5}), values({}, {-0.25}), ",flat"));
    list.back().gradient = false;  // no variance beside the mean square: the premise of gradient_k
    list.push_back(make({2, 13, 14, 2}, DType::f32, 2, adversarial({}), adversarial({}), ",adversarial"));
    list.back().gradient = false;  // magnitudes beside which a step of the central difference vanishes
    for (DType t : {DType::f32, DType::bf16}) list.push_back(make({8, 128, 256, 3}, t, 2, x, y, "", true));
    return list;
  }
};

}  // namespace dr
