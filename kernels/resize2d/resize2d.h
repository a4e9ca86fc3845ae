#pragma once
// Images resized by the nearest pixel or by bilinear interpolation, between pixel centres (align_corners=False).
//
//   An output pixel o of `out` along an axis lies at s = (o + 1/2) in / out - 1/2 among the `in` input pixels.
//   nearest:   y[o] = x[floor(s + 1/2)]: for a whole factor each pixel is repeated; halves go to the higher pixel
//   bilinear:  y[o] = (1 - f) x[i] + f x[i + 1],  i = floor(max(s, 0)),  f = max(s, 0) - i;  x[in - 1] beyond the last
//
//   x (N,H,W,C) f32|bf16, any strides    y (N,out_h,out_w,C) like x, packed
// Coordinates are exact, in 64-bit integers: nearest i = (2o + 1) in / (2 out); bilinear n = max((2o + 1) in - out, 0),
//   i = n / (2 out), f = n mod (2 out) / (2 out), one division in fp32. Where f is 0 or i is the last pixel, y[o] is
//   x[i] itself and its neighbour is not read, so a resize to the same size returns the bits of x.
// Order: lerp(a, b, f) = fma(f, b - a, a); first down the column, between rows, at both neighbouring columns; then
//   along the row. A constant image stays constant.
// backward, in gather form: dx[i,j] = chain over o, ascending, of wy[o,i] t[o,j]; t[o,j] = chain over p, ascending, of
//   wx[p,j] dy[o,p]: fma chains from 0 over the outputs that read the pixel. A weight is 1, f or its complement
//   (2 out - n mod (2 out)) / (2 out).
// No antialiasing: shrinking by more than 2 skips pixels. Deterministic, independent of N.
// Throws unless H, W, out_h, out_w are 1 to 2^22.
// Source: torch.nn.functional.interpolate, modes `bilinear` and `nearest-exact` (`nearest` is floor(o in / out): equal
//   where sizes grow by whole factors); Odena et al. 2016, "Deconvolution and Checkerboard Artifacts", for
//   resize-convolution.

#include <algorithm>

#include "kernels/core/op.h"

namespace dr {

enum class Interpolation : uint8_t { nearest, bilinear };
constexpr std::string_view name_of(Interpolation i) { return i == Interpolation::nearest ? "nearest" : "bilinear"; }

struct Resize2d {
  static constexpr std::string_view name = "resize2d";
  int64_t out_h = 0, out_w = 0;
  Interpolation interpolation = Interpolation::nearest;

  struct In { View x; static constexpr auto names = fields("x"); };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x; static constexpr auto names = fields("x"); };

  static constexpr int64_t kMaxSize = int64_t{1} << 22;  // so that 2 out is exact in fp32

  // Where an output pixel reads along one axis: lo, and hi with weight `up`; hi = lo where up = 0.
  struct Tap { int32_t lo, hi; float down, up; };  // weights of lo and hi
  // What reads an input pixel: outputs contribution[start[i]] to contribution[start[i + 1] - 1], in ascending order.
  struct Contribution { int32_t output; float weight; };

  Shapes infer(const In& in) const {
    CHECK(in.x.rank() == 4, "resize2d: x must be (N,H,W,C), got {}", to_string(in.x));
    expect_float(in.x, "resize2d: x");
    for (int64_t n : {in.x.size(1), in.x.size(2), out_h, out_w})
      CHECK(n >= 1 && n <= kMaxSize, "resize2d: heights and widths must be 1 to 2^22, got {} to ({},{})",
            to_string(in.x), out_h, out_w);
    return {{in.x.dtype, {in.x.size(0), out_h, out_w, in.x.size(3)}}};
  }
  // Tables of both axes.
  size_t scratch_bytes(const In& in, int) const {
    const size_t outputs = size_t(out_h + out_w), inputs = size_t(in.x.size(1) + in.x.size(2) + 2);
    return outputs * (sizeof(Tap) + 2 * sizeof(Contribution)) + inputs * sizeof(int32_t);
  }
  // Devices: taps of both axes, and which outputs read each input pixel.
  struct Readers { int32_t begin, end; };
  size_t device_scratch_bytes(const In& in) const {
    return size_t(out_h + out_w) * sizeof(Tap) + size_t(in.x.size(1) + in.x.size(2)) * sizeof(Readers);
  }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // Each term: two weights, and one rounding for each addition of its two chains.
  double gradient_k(const In& in) const {
    auto readers = [&](int64_t size, int64_t out) { return double(2 * ((out + size - 1) / size) + 1); };
    return 2 + readers(in.x.size(1), out_h) + readers(in.x.size(2), out_w);
  }
  Cost cost(const In& in) const {
    const Shapes out = infer(in);
    return traffic((interpolation == Interpolation::nearest ? 0.0 : 9.0) * double(out[0].sizes.count()), in, out);
  }
  Cost backward_cost(const In& in) const {  // reads dy, writes dx
    const double outputs = double(infer(in)[0].sizes.count()), size = double(size_of(in.x.dtype));
    return {(interpolation == Interpolation::nearest ? 1.0 : 10.0) * outputs, outputs * size, double(in.x.bytes())};
  }

  static std::vector<Case<Resize2d>> cases() {
    auto make = [](Sizes x, int64_t out_h, int64_t out_w, Interpolation how, DType t, int64_t pad = 0,
                   bool bench = false) {
      return Case<Resize2d>({out_h, out_w, how},
                            {.name = format("{},OH={},OW={},{},{}{}", to_string(x), out_h, out_w, name_of(t),
                                            name_of(how), pad ? ",strided" : ""),
                             .in = {normal(x).as(t).padded(pad)},
                             .samples = bench ? 1 : int(std::max<int64_t>(1, x[0])),
                             .bench = bench});
    };
    std::vector<Case<Resize2d>> list;
    for (Interpolation how : {Interpolation::nearest, Interpolation::bilinear})
      for (DType t : {DType::f32, DType::bf16}) {
        list.push_back(make({2, 5, 7, 3}, 10, 14, how, t));
        list.push_back(make({2, 5, 3, 33}, 8, 5, how, t, 2));
        list.push_back(make({3, 7, 5, 1}, 5, 31, how, t));
      }
    for (Interpolation how : {Interpolation::nearest, Interpolation::bilinear}) {
      list.push_back(make({1, 9, 7, 2}, 3, 4, how, DType::f32));
      list.push_back(make({1, 4, 5, 17}, 12, 15, how, DType::f32));
      list.push_back(make({2, 5, 4, 6}, 5, 4, how, DType::f32));
      list.push_back(make({1, 1, 1, 31}, 3, 4, how, DType::f32));
      list.push_back(make({2, 6, 7, 5}, 1, 1, how, DType::f32));
      list.push_back(make({0, 4, 4, 3}, 8, 8, how, DType::f32));
      list.push_back(Case<Resize2d>({7, 11, how}, {.name = format("adversarial,{}", name_of(how)),
                                                   .in = {adversarial({2, 5, 4, 9})},
                                                   .samples = 2}));
    }
    for (Interpolation how : {Interpolation::nearest, Interpolation::bilinear}) {
      for (DType t : {DType::f32, DType::bf16}) list.push_back(make({4, 64, 128, 128}, 128, 256, how, t, 0, true));
      list.push_back(make({8, 16, 32, 64}, 32, 64, how, DType::f32, 0, true));
      list.push_back(make({8, 128, 256, 3}, 192, 384, how, DType::f32, 0, true));
    }
    return list;
  }
};

}  // namespace dr
