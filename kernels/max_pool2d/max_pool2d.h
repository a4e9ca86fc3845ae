#pragma once
// Max pooling of images, channels last.
//
//   y[n,oh,ow,c] = max of x[n,h,w,c] over the window's pixels that lie in the image:
//     h = oh*stride.h - padding.h + kh, w = ow*stride.w - padding.w + kw for 0 <= kh < kernel.h and 0 <= kw < kernel.w
//   index[n,oh,ow,c] = the place kh*kernel.w + kw where it stands, the lowest of those that tie
//
//   x (N,H,W,C) f32|bf16, any strides but a contiguous last axis    y (N,OH,OW,C) like x, packed
//   index i32 like y, packed: saved for backward
//   OH = (H + 2 padding.h - kernel.h) / stride.h + 1 rounded down, OW likewise. A pixel of the padding never wins.
// Order of elements: total, -0 < +0, infinities are ordinary. The window's first NaN is y, as the quiet NaN 0x7fc00000,
//   and gives its place.
// backward: dx[n,h,w,c] = chain of additions from +0, over the windows that hold the pixel in ascending (oh,ow), of dy
//   where index is the pixel's place in the window; the other windows are no terms. Rounded once to dx.
// Deterministic, independent of N. Throws if the padding exceeds half of the kernel, a window the padded image or 512
// pixels (no chain is longer), or the image has no pixel. The largest of a whole image: `reduce`.

#include "kernels/core/axis_runs.h"
#include "kernels/core/chain_depth.h"
#include "kernels/core/op.h"

namespace dr {

struct MaxPool2d {
  static constexpr std::string_view name = "max_pool2d";
  struct Pair {
    int h = 1, w = 1;
  };
  Pair kernel{}, stride{}, padding{0, 0};

  struct In { View x; static constexpr auto names = fields("x"); };
  struct Out { View y, index; static constexpr auto names = fields("y", "index"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x; static constexpr auto names = fields("x"); };

  WindowAxis along_h(const Sizes& x, const Sizes& y) const { return {x[1], y[1], kernel.h, stride.h, padding.h}; }
  WindowAxis along_w(const Sizes& x, const Sizes& y) const { return {x[2], y[2], kernel.w, stride.w, padding.w}; }

  Shapes infer(const In& in) const {
    CHECK(in.x.rank() == 4, "max_pool2d: x must be (N,H,W,C), got {}", to_string(in.x));
    expect_float(in.x, "max_pool2d: x");
    CHECK(kernel.h > 0 && kernel.w > 0 && stride.h > 0 && stride.w > 0,
          "max_pool2d: kernel and stride must be positive, got {}x{}, {}x{}", kernel.h, kernel.w, stride.h, stride.w);
    CHECK(int64_t{kernel.h} * kernel.w <= 512, "max_pool2d: a window may hold up to 512 pixels, got {}x{}", kernel.h,
          kernel.w);
    CHECK(padding.h >= 0 && 2 * padding.h <= kernel.h && padding.w >= 0 && 2 * padding.w <= kernel.w,
          "max_pool2d: padding must be within [0, kernel / 2], got {}x{} for {}x{}", padding.h, padding.w, kernel.h,
          kernel.w);
    const int64_t free_h = in.x.size(1) + 2 * padding.h - kernel.h, free_w = in.x.size(2) + 2 * padding.w - kernel.w;
    CHECK(in.x.size(1) > 0 && in.x.size(2) > 0 && free_h >= 0 && free_w >= 0,
          "max_pool2d: the window {}x{} is larger than the padded image of {}, or the image is empty", kernel.h,
          kernel.w, to_string(in.x));
    const Sizes y{in.x.size(0), free_h / stride.h + 1, free_w / stride.w + 1, in.x.size(3)};
    return {{in.x.dtype, y}, {DType::i32, y}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // A chain over the windows that hold a pixel.
  double gradient_k(const In&) const {
    return chain_depth(int64_t((kernel.h + stride.h - 1) / stride.h) * ((kernel.w + stride.w - 1) / stride.w));
  }
  Cost cost(const In& in) const {
    const Shapes out = infer(in);
    return traffic(double(out[0].sizes.count()) * kernel.h * kernel.w, in, out);
  }
  Cost backward_cost(const In& in) const {  // reads dy and index, writes dx
    const Cost c = cost(in);
    return {double(infer(in)[0].sizes.count()), c.bytes_written, c.bytes_read};
  }

  static std::vector<Case<MaxPool2d>> cases() {
    auto make = [](MaxPool2d op, Sizes s, int samples, DType t = DType::f32, int64_t pad = 0) {
      const std::string id =
          format("N={},H={},W={},C={},K={}x{},stride={}x{},pad={}x{},{}{}", s[0], s[1], s[2], s[3], op.kernel.h,
                 op.kernel.w, op.stride.h, op.stride.w, op.padding.h, op.padding.w, name_of(t), pad ? ",strided" : "");
      return Case<MaxPool2d>(op, {.name = id, .in = {normal(s, 0.2).as(t).padded(pad)}, .samples = samples});
    };
    std::vector<Case<MaxPool2d>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make({{2, 2}, {2, 2}}, {2, 6, 8, 33}, 2, t));
      list.push_back(make({{3, 3}, {2, 2}}, {2, 8, 7, 31}, 2, t, 3));  // AlexNet's, with a row that no window holds
      list.push_back(make({{3, 3}, {2, 2}, {1, 1}}, {2, 7, 6, 5}, 2, t));
      list.push_back(make({{3, 3}, {1, 1}, {1, 1}}, {2, 5, 7, 7}, 2, t));
      list.back().gradient = t == DType::f32;  // neighbours tie in bf16: no difference quotient
    }
    list.push_back(make({{2, 3}, {3, 1}, {1, 0}}, {2, 8, 5, 7}, 2));    // rows that no window holds
    list.push_back(make({{4, 2}, {1, 3}, {2, 1}}, {1, 5, 7, 112}, 1));  // strips of 64, 32 and 16 channels
    list.push_back(make({{1, 5}, {1, 1}, {0, 2}}, {2, 1, 9, 1}, 2));
    list.push_back(make({{2, 2}, {1, 1}, {1, 1}}, {3, 1, 1, 5}, 3));    // one pixel, in every window
    list.push_back(make({{5, 3}, {1, 2}, {2, 1}}, {1, 3, 2, 3}, 1));    // windows larger than the image
    list.push_back(make({{1, 1}, {1, 1}}, {3, 1, 1, 1}, 3));
    list.push_back(make({{2, 2}, {2, 2}}, {0, 4, 4, 7}, 1));
    list.push_back(make({{2, 2}, {2, 2}}, {2, 4, 4, 0}, 2));
    list.push_back({{{16, 32}, {1, 1}, {8, 16}}, {.name = "K=16x32", .in = {normal({2, 16, 33, 3})}, .samples = 2}});
    list.back().gradient = false;  // the few elements that differences sample may all miss a maximum of 512
    list.push_back({{{3, 3}, {2, 2}, {1, 1}},
                    {.name = "ties",
                     .in = {values({2, 7, 6, 19}, {1, -1, 0, 1, -0.0, -1, 0.5, 1, 0, -0.0, 0, -1})},
                     .samples = 2,
                     .gradient = false}});
    for (DType t : {DType::f32, DType::bf16})
      list.push_back({{{3, 2}, {2, 1}, {1, 1}},
                      {.name = format("adversarial,{}", name_of(t)),
                       .in = {adversarial({2, 7, 6, 20}).as(t)},
                       .samples = 2,
                       .gradient = false}});
    // AlexNet's and VGG16's first on a frame of 128 x 256.
    const size_t tested = list.size();
    list.push_back(make({{3, 3}, {2, 2}}, {16, 31, 63, 64}, 1));
    list.push_back(make({{2, 2}, {2, 2}}, {16, 128, 256, 64}, 1));
    list.push_back(make({{2, 2}, {2, 2}}, {16, 128, 256, 64}, 1, DType::bf16));
    for (size_t i = tested; i < list.size(); i++) list[i].bench = true;
    return list;
  }
};

}  // namespace dr
