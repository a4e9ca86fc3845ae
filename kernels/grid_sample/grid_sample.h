#pragma once
// y[n,s,c] = the image x[n,:,:,c] at the point grid[n,s], bilinear between pixels.
//
//   x (N,H,W,C) f32|bf16, any strides but the last axis    grid (N,OH,OW,2) f32: (x, y), packed but for axis 0
//   y (N,OH,OW,C) like x, packed
//   coordinates   pixels: x to the right, y down, pixel centres at integers, 0 .. W-1 and 0 .. H-1
//                 normalised, normalised_corners: PyTorch's align_corners=False and True; -1 .. 1 is the extent of the
//                 image, or of its pixel centres. One fma makes pixels of them: W/2 g + (W-1)/2, or (W-1)/2 (g + 1).
//   padding       zeros: pixels outside are 0. border: a coordinate outside is held at 0 or W-1 (H-1).
//   A sample is outside, y = +0 and no gradient, where a coordinate is not finite; with zeros also where no corner is
//   inside.
//
// x0 = floor(x), fx = x - x0, gx = 1 - fx, alike for y; corners k = (x0,y0), (x0+1,y0), (x0,y0+1), (x0+1,y0+1) with
// weights w = gy gx, gy fx, fy gx, fy fx and pixels v_k. A corner outside has weight 0 and the pixel nearest to it,
// which is a corner too.
//   y = fma(w3, v3, fma(w2, v2, fma(w1, v1, w0 v0)))
// backward:
//   dx[p] = one fma chain from +0 over the samples that have pixel p as a corner, in ascending order of s, of w_k dy[s]
//   s_k = canonical row sum over c of dy v_k, by fma, 0 for a corner outside
//   dgrid = unit (fma(gy, s1 - s0, fy (s3 - s2)), fma(gx, s2 - s0, fx (s3 - s1))), 0 along an axis on which the border
//   holds the sample (x <= 0 or x >= W-1);  unit: pixels per unit of the grid (1, W/2 or (W-1)/2)
// A bf16 gradient is rounded once, at the end of its chain. Deterministic, independent of N.
// Throws if grid is not (N,OH,OW,2), an image has no pixels, H or W exceeds 2^24 or C 4096, or an image spans 2^31
// elements.
// Source: Jaderberg et al. 2015, arXiv:1506.02025, section 3.3; names and clipping as torch.nn.functional.grid_sample.

#include <limits>

#include "kernels/grid_sample/image.h"

namespace dr {

struct GridSample {
  static constexpr std::string_view name = "grid_sample";
  enum class Coordinates : uint8_t { pixels, normalised, normalised_corners };
  Coordinates coordinates = Coordinates::pixels;
  Padding padding = Padding::zeros;

  // Grid coordinates to pixels along an axis of that size: fma(g, scale, offset).
  struct Unit {
    float scale = 1, offset = 0;
    Unit(Coordinates c, int64_t size) {
      if (c == Coordinates::pixels) return;
      offset = 0.5f * float(size - 1);
      scale = c == Coordinates::normalised ? 0.5f * float(size) : offset;
    }
  };

  struct In { View x, grid; static constexpr auto names = fields("x", "grid"); };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x, grid; static constexpr auto names = fields("x", "grid"); };

  Shapes infer(const In& in) const {
    expect_image(in.x, "grid_sample: x");
    CHECK(in.grid.rank() == 4 && in.grid.size(0) == in.x.size(0) && in.grid.size(3) == 2,
          "grid_sample: grid must be ({},OH,OW,2), got {}", in.x.size(0), to_string(in.grid));
    expect_f32(in.grid, in.grid.sizes, "grid_sample: grid");
    CHECK(in.grid.packed(1), "grid_sample: grid must be packed but for axis 0");
    return {{in.x.dtype, {in.x.size(0), in.grid.size(1), in.grid.size(2), in.x.size(3)}}};
  }
  // Where x is bf16: sums of a band of rows for each thread.
  size_t scratch_bytes(const In& in, int threads) const {
    return in.x.dtype == DType::bf16 ? row_bands(in.x, threads).sum_bytes(threads) : 0;
  }
  ScatterSize scatter_size(const In& in) const {
    return {in.grid.count() / 2, in.x.size(0) * ScatterSize::cells_of(in.x.size(1), in.x.size(2))};
  }
  size_t device_scratch_bytes(const In& in) const { return scatter_size(in).bytes(); }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // dx: a chain over at most S samples; a weight is off by 1 + e, e from the coordinate, which is 4 times as much of a
  // mean weight of 1/4. dgrid: C/32 + 6 roundings of s_k, 5 after it, e; sums of |v| are twice those of differences.
  // What is relative to a mean is 16 times as much where the harness has but a sixteenth of the mean to measure by.
  double gradient_k(const In& in) const {
    const double samples = double(in.grid.size(1) * in.grid.size(2)), channels = double(in.x.size(3));
    const double e = coordinates == Coordinates::pixels ? 1 : double(in.x.size(1) + in.x.size(2));
    return samples + 64 * (1 + e) + 32 * (channels / 32 + 11 + e);
  }
  Cost cost(const In& in) const { return traffic(samples(in) * (20 + 7.0 * double(in.x.size(3))), in, infer(in)); }
  Cost backward_cost(const In& in) const {
    return backward_traffic(samples(in) * (50 + 16.0 * double(in.x.size(3))), in, infer(in));
  }
  static double samples(const In& in) { return double(in.grid.count()) / 2; }

  // Points from two pixels before an image to one past it, at least a tenth of a pixel away from where y has a kink.
  static std::vector<double> points(int64_t count, int64_t height, int64_t width) {
    std::vector<double> list;
    uint32_t state = 12345;
    auto next = [&](int64_t size) {
      state = state * 1664525u + 1013904223u;
      const double cell = double((state >> 8) % uint32_t(size + 4)) - 2;
      state = state * 1664525u + 1013904223u;
      return cell + 0.1 + 0.8 * double(state >> 8) * 0x1p-24;
    };
    for (int64_t i = 0; i < count; i++) list.push_back(next(width)), list.push_back(next(height));
    return list;
  }

  static std::vector<Case<GridSample>> cases() {
    using enum Coordinates;
    struct Shape { int64_t n, h, w, c, oh, ow; };
    auto make = [](GridSample op, Shape s, DType t = DType::f32, int64_t pad = 0) {
      std::vector<double> list = points(s.n * s.oh * s.ow, s.h, s.w);
      const bool corners = op.coordinates == normalised_corners;
      if (op.coordinates != pixels)
        for (size_t i = 0; i < list.size(); i++) {
          const double size = double(i % 2 ? s.h : s.w);
          list[i] = corners ? 2 * list[i] / std::max(1.0, size - 1) - 1 : (2 * list[i] + 1) / size - 1;
        }
      const std::string_view kind[] = {"", ",normalised", ",corners"};
      return Case<GridSample>(op, {.name = format("N={},H={},W={},C={},OH={},OW={},{}{}{}{}", s.n, s.h, s.w, s.c, s.oh,
                                                  s.ow, name_of(t), kind[int(op.coordinates)],
                                                  op.padding == Padding::border ? ",border" : "",
                                                  pad ? ",strided" : ""),
                                   .in = {normal({s.n, s.h, s.w, s.c}).as(t).padded(pad),
                                          values({s.n, s.oh, s.ow, 2}, list)},
                                   .samples = int(std::max<int64_t>(1, s.n))});
    };
    const GridSample zeros{}, border{.padding = Padding::border}, unit{.coordinates = normalised},
        unit_corners{.coordinates = normalised_corners, .padding = Padding::border};
    std::vector<Case<GridSample>> list;
    list.push_back(make(zeros, {3, 5, 7, 33, 4, 6}));
    list.push_back(make(border, {2, 7, 5, 31, 5, 7}));
    list.push_back(make(unit, {2, 6, 9, 64, 5, 5}));
    list.push_back(make(unit_corners, {1, 5, 8, 7, 7, 5}));
    for (int64_t c : {1, 2, 3, 4}) list.push_back(make(c % 2 ? zeros : border, {2, 9, 7, c, 5, 11}));
    list.push_back(make(zeros, {2, 5, 7, 33, 4, 6}, DType::bf16));
    list.push_back(make(border, {5, 4, 6, 3, 5, 5}, DType::bf16, 1));
    list.push_back(make(zeros, {2, 5, 4, 5, 3, 5}, DType::f32, 3));
    list.push_back(make(zeros, {1, 1, 1, 5, 3, 3}));
    list.push_back(make(zeros, {0, 5, 4, 5, 3, 5}));
    list.push_back(make(zeros, {2, 5, 4, 5, 0, 5}));
    list.back().gradient = false;  // zeros
    {  // long chains: every sample meets the same four pixels
      Case<GridSample> c = make(zeros, {1, 3, 4, 5, 33, 31});
      c.name = "one point," + c.name;
      c.in[1].list = {1.375, 0.625};
      list.push_back(c);
    }
    list.push_back(make(border, {3, 9, 13, 3, 40, 41}));  // more samples than one block of a device sorts
    list.back().gradient = false;  // for time
    for (const GridSample& op : {zeros, border}) {
      Case<GridSample> c = make(op, {1, 4, 5, 17, 7, 5});
      c.name = "adversarial," + c.name;
      const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
      c.in[0] = adversarial(c.in[0].sizes);
      c.in[1].list = {0, 0, 4, 3, -1, 1, 5, 1, 2, 4, nan, 1, 1, nan, inf, 1, 2, -inf, 1e30, 1, -1e30, 2, -0.0, -1e-7,
                      3.9999998, 2.9999998, 1.5, -0.9999999, 4.9999995, 3.5, 3e9, -3e9, 1e-40, 2};
      c.gradient = false;  // kinks
      list.push_back(c);
    }
    for (Shape s : {Shape{8, 64, 128, 32, 64, 128}, Shape{8, 128, 256, 3, 128, 256}}) {
      Case<GridSample> c = make(unit, {s.n, s.h, s.w, s.c, 0, 0});
      c.name = format("N={},H={},W={},C={},f32", s.n, s.h, s.w, s.c);
      c.in[1] = uniform({s.n, s.oh, s.ow, 2}, -1, 1);
      c.bench = true;
      list.push_back(c);
    }
    return list;
  }
};

}  // namespace dr
