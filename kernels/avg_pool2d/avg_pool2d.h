#pragma once
// Average pooling of images, channels last.
//
//   y[n,oh,ow,c] = (sum over the window's pixels (h,w) that lie in the image of x[n,h,w,c]) / count
//   window: oh*stride.h - padding.h <= h < oh*stride.h - padding.h + kernel.h, w likewise
//   count = kernel.h * kernel.w; without count_include_pad the pixels of the window that lie in the image
//
//   x (N,H,W,C) f32|bf16, any strides but a contiguous last axis    y (N,OH,OW,C) like x, packed
//   OH = (H + 2 padding.h - kernel.h) / stride.h + 1 rounded down, OW likewise. Global pooling: kernel = image.
// Order: chain of additions from +0 over the pixels in the image in ascending (h,w), in chunks of 512 that are added in
//   ascending order; then one division.
// backward: dx[n,h,w,c] = the same chain over the windows that hold the pixel, in ascending (oh,ow), of dy / count, each
//   quotient rounded.
// Deterministic, independent of N. Throws if the padding exceeds half of the kernel or a window the padded image.

#include "kernels/core/axis_runs.h"
#include "kernels/core/chain_depth.h"
#include "kernels/core/op.h"

namespace dr {

struct AvgPool2d {
  static constexpr std::string_view name = "avg_pool2d";
  struct Pair {
    int h = 1, w = 1;
  };
  Pair kernel{}, stride{}, padding{0, 0};
  bool count_include_pad = true;  // as in PyTorch; without padding it makes no difference

  struct In { View x; static constexpr auto names = fields("x"); };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x; static constexpr auto names = fields("x"); };

  static AvgPool2d global(const Sizes& image) {
    const Pair size{int(image[1]), int(image[2])};
    return {.kernel = size, .stride = size};
  }

  bool overlapping() const { return kernel.h > stride.h || kernel.w > stride.w; }

  WindowAxis along_h(const Sizes& x, const Sizes& y) const { return {x[1], y[1], kernel.h, stride.h, padding.h}; }
  WindowAxis along_w(const Sizes& x, const Sizes& y) const { return {x[2], y[2], kernel.w, stride.w, padding.w}; }

  Shapes infer(const In& in) const {
    CHECK(in.x.rank() == 4, "avg_pool2d: x must be (N,H,W,C), got {}", to_string(in.x));
    expect_float(in.x, "avg_pool2d: x");
    CHECK(kernel.h > 0 && kernel.w > 0 && stride.h > 0 && stride.w > 0,
          "avg_pool2d: kernel and stride must be positive, got {}x{}, {}x{}", kernel.h, kernel.w, stride.h, stride.w);
    CHECK(padding.h >= 0 && 2 * padding.h <= kernel.h && padding.w >= 0 && 2 * padding.w <= kernel.w,
          "avg_pool2d: padding must be within [0, kernel / 2], got {}x{} for {}x{}", padding.h, padding.w, kernel.h,
          kernel.w);
    const int64_t free_h = in.x.size(1) + 2 * padding.h - kernel.h, free_w = in.x.size(2) + 2 * padding.w - kernel.w;
    CHECK(free_h >= 0 && free_w >= 0, "avg_pool2d: the window {}x{} is larger than the padded image of {}", kernel.h,
          kernel.w, to_string(in.x));
    return {{in.x.dtype, {in.x.size(0), free_h / stride.h + 1, free_w / stride.w + 1, in.x.size(3)}}};
  }
  // The quotients dy / count, where several pixels share one.
  size_t scratch_bytes(const In& in, int) const {
    return overlapping() ? size_t(infer(in)[0].sizes.count()) * sizeof(float) : 0;
  }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // One quotient, then a chain over the windows that hold a pixel.
  double gradient_k(const In&) const {
    return 1 + chain_depth(int64_t((kernel.h + stride.h - 1) / stride.h) * ((kernel.w + stride.w - 1) / stride.w));
  }
  Cost cost(const In& in) const {
    const double outputs = double(infer(in)[0].sizes.count());
    return traffic(outputs * (kernel.h * kernel.w + 1), in, infer(in));
  }
  Cost backward_cost(const In& in) const {
    const Shapes y = infer(in);
    const double x_bytes = double(in.x.bytes()), y_bytes = double(y[0].sizes.count()) * double(size_of(in.x.dtype));
    return {cost(in).flops, y_bytes, x_bytes};
  }

  static std::vector<Case<AvgPool2d>> cases() {
    auto make = [](AvgPool2d op, Sizes s, int samples, DType t = DType::f32, int64_t pad = 0) {
      const std::string id =
          format("N={},H={},W={},C={},K={}x{},stride={}x{},pad={}x{},{}{}{}", s[0], s[1], s[2], s[3], op.kernel.h,
                 op.kernel.w, op.stride.h, op.stride.w, op.padding.h, op.padding.w, name_of(t),
                 op.count_include_pad ? "" : ",exclude_pad", pad ? ",strided" : "");
      return Case<AvgPool2d>(op, {.name = id, .in = {normal(s, 0.2).as(t).padded(pad)}, .samples = samples});
    };
    std::vector<Case<AvgPool2d>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make({{2, 2}, {2, 2}}, {2, 6, 8, 33}, 2, t));
      list.push_back(make({{3, 3}, {1, 1}, {1, 1}}, {2, 5, 7, 31}, 2, t, 3));
      list.push_back(make({{3, 3}, {2, 2}, {1, 1}, false}, {2, 7, 6, 5}, 2, t));
      list.push_back(make(global({2, 7, 9, 40}), {2, 7, 9, 40}, 2, t));
    }
    list.push_back(make({{2, 3}, {3, 1}, {1, 0}}, {2, 8, 5, 7}, 2));         // rows that no window holds
    list.push_back(make({{4, 2}, {1, 3}, {2, 1}, false}, {1, 5, 7, 112}, 1));  // strips of 64, 32 and 16 channels
    list.push_back(make(global({2, 23, 24, 5}), {2, 23, 24, 5}, 2));         // chunks of 512 and 40 pixels
    list.push_back(make({{24, 23}, {1, 1}, {12, 11}}, {1, 24, 23, 1}, 1));   // and of windows
    list.push_back(make({{1, 1}, {1, 1}}, {3, 1, 1, 1}, 3));
    list.push_back(make({{2, 2}, {2, 2}}, {0, 4, 4, 7}, 1));
    list.push_back(
        {{{3, 2}, {2, 2}, {1, 1}, false}, {.name = "adversarial", .in = {adversarial({2, 7, 6, 20})}, .samples = 2}});
    const size_t tested = list.size();
    list.push_back(make(global({8, 8, 16, 512}), {8, 8, 16, 512}, 1));
    list.push_back(make({{2, 2}, {2, 2}}, {16, 64, 128, 64}, 1));
    list.push_back(make({{3, 3}, {1, 1}, {1, 1}}, {8, 32, 64, 64}, 1));
    for (size_t i = tested; i < list.size(); i++) list[i].bench = true;
    return list;
  }
};

}  // namespace dr
