#pragma once
// 2-D convolution (cross-correlation, as every framework means it), channels last.
//
//   y[n,oh,ow,o] = bias[o] + sum over (kh,kw,i) of x[n, oh*sh - top + kh*dh, ow*sw - left + kw*dw, g*I + i]
//                                                * weight[o,kh,kw,i]
//   with g = o / (O/groups) the group of o, and x = +0 outside the image
//
//   x (N,H,W,C) f32|bf16, any strides but a contiguous last axis    weight (O,KH,KW,I) f32|bf16, packed, I = C/groups
//   bias (O) of weight's type, may be absent    y (N,OH,OW,O) like x, packed
//   OH = (H + top + bottom - (KH-1)*dh - 1) / sh + 1 rounded down, OW likewise. Files hold weights as (O,I,KH,KW).
//
// Order: canonical GEMM along K = (kh,kw,i), in that nesting: chunks of 512, an fma chain from +0 inside. Padding takes
//   part: a tap outside the image is a term with x = +0 and a place in its chunk, like any other (so an infinite or NaN
//   weight there gives NaN). Then one addition of the bias; rounded once to y.
// backward:
//   dx[n,h,w,c] = sum over (oh,ow,o) of dy[n,oh,ow,o] weight[o, kh, kw, c mod I], o over the group of c, over those
//     (oh,ow) that read the element by some tap: kh*dh = h + top - oh*sh, kw*dw = w + left - ow*sw for 0 <= kh < KH and
//     0 <= kw < KW. They are taken in ascending (oh,ow,o): a chain by the same rule along them. An oh < 0 or >= OH (ow
//     likewise) that fits these equations is a term with dy = +0; what does not fit is no term. No term at all: +0.
//     For stride 1 this is the convolution of dy with the weights flipped and transposed; for more, h and w modulo the
//     stride choose which taps form the chain.
//   dweight, per leaf: canonical GEMM along the leaf's positions (n,oh,ow); padding takes part as terms with x = +0.
//   dbias, per leaf: column sum of dy over the positions (chunks of 512, a chain of additions from +0 inside, chunk
//     sums in ascending order).
// Deterministic; y and dx are independent of N and of leaves. Throws if the shapes do not fit together or the window is
// larger than the padded image.

#include <cmath>

#include "kernels/core/chain_depth.h"
#include "kernels/core/gemm_scratch.h"
#include "kernels/core/op.h"

namespace dr {

struct Conv2d {
  static constexpr std::string_view name = "conv2d";

  struct Pair {
    int h = 1, w = 1;
    bool operator==(const Pair&) const = default;
  };
  struct Padding {
    int top = 0, left = 0, bottom = 0, right = 0;
    bool operator==(const Padding&) const = default;
  };
  Pair stride{};
  Padding padding{};
  Pair dilation{};
  int groups = 1;

  // The usual convolution of a square kernel of odd size, padded so that stride 1 keeps the image's size.
  static Conv2d same(int kernel, int stride = 1, int groups = 1) {
    const int p = kernel / 2;
    return {.stride = {stride, stride}, .padding = {p, p, p, p}, .dilation = {}, .groups = groups};
  }

  struct In {
    View x, weight, bias;
    static constexpr auto names = fields("x", "weight", "bias");
    static constexpr auto shared = fields("weight", "bias");
  };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x, weight, bias; static constexpr auto names = fields("x", "weight", "bias"); };

  // One filter per channel: the kernels of depthwise.h take these.
  bool depthwise(const In& in) const { return groups == in.x.size(3) && groups == in.weight.size(0); }

  Shapes infer(const In& in) const {
    const View &x = in.x, &w = in.weight;
    CHECK(x.rank() == 4, "conv2d: x must be (N,H,W,C), got {}", to_string(x));
    CHECK(w.rank() == 4 && w.packed(), "conv2d: weight must be (O,KH,KW,C/groups), packed, got {}", to_string(w));
    expect_float(x, "conv2d: x");
    expect_float(w, "conv2d: weight");
    CHECK(stride.h > 0 && stride.w > 0 && dilation.h > 0 && dilation.w > 0 && groups > 0,
          "conv2d: strides, dilations and groups must be positive, got {}x{}, {}x{}, {}", stride.h, stride.w,
          dilation.h, dilation.w, groups);
    CHECK(padding.top >= 0 && padding.left >= 0 && padding.bottom >= 0 && padding.right >= 0,
          "conv2d: padding must not be negative, got {},{},{},{}", padding.top, padding.left, padding.bottom,
          padding.right);
    CHECK(w.size(1) > 0 && w.size(2) > 0 && w.size(3) > 0, "conv2d: weight must not be empty, got {}", to_string(w));
    CHECK(x.size(3) == groups * w.size(3) && w.size(0) % groups == 0,
          "conv2d: {} groups: x has C={}, weight {} takes C={} and makes O={}", groups, x.size(3), to_string(w),
          groups * w.size(3), w.size(0));
    if (in.bias)
      CHECK(in.bias.sizes == Sizes{w.size(0)} && in.bias.dtype == w.dtype,
            "conv2d: bias must be {}({}) as weight is, got {}", name_of(w.dtype), w.size(0), to_string(in.bias));
    const int64_t free_h = x.size(1) + padding.top + padding.bottom - (w.size(1) - 1) * dilation.h - 1;
    const int64_t free_w = x.size(2) + padding.left + padding.right - (w.size(2) - 1) * dilation.w - 1;
    CHECK(free_h >= 0 && free_w >= 0, "conv2d: the window {}x{} (dilation {}x{}) is larger than the padded image of {}",
          w.size(1), w.size(2), dilation.h, dilation.w, to_string(x));
    return {{x.dtype, {x.size(0), free_h / stride.h + 1, free_w / stride.w + 1, w.size(0)}}};
  }
  // The weights, transposed or in panels of whole vectors of outputs. Depthwise: all filters, then for each chunk of
  // each leaf's positions their gradients and the bias's, by vectors of up to 16 channels.
  size_t scratch_bytes(const In& in, int) const {
    const Sizes y = infer(in)[0].sizes;
    int64_t floats = in.weight.size(1) * in.weight.size(2) * in.weight.size(3) * ((y[3] + 15) / 16 * 16);
    if (depthwise(in)) {
      const int64_t chunks = std::max<int64_t>(1, y[0] * y[1] * y[2] / 512 + y[0]);
      floats = std::max(floats, chunks * (in.weight.size(1) * in.weight.size(2) + 1) * ((y[3] + 15) / 16 * 16));
    }
    return size_t(floats) * sizeof(float);
  }
  // Fewer channels than this in each of several groups are no work for a GEMM (gpu_thin.h).
  static constexpr int64_t kThin = 16;
  // Sums of chunks of the GEMMs and of dbias. Thin groups: all weights anew, and the sums of each chunk of dweight.
  size_t device_scratch_bytes(const In& in) const {
    const Sizes y = infer(in)[0].sizes, k = in.weight.sizes;
    const int64_t places = y[0] * y[1] * y[2], weights = k.count(), taps = k[1] * k[2];
    const int64_t chunks = places / RowGroups::kChunk + std::max<int64_t>(1, y[0]);  // at most, for any leaves
    size_t bytes = std::max({gemm_scratch_bytes(y.count(), taps * k[3]),
                             gemm_scratch_bytes(in.x.count(), taps * (k[0] / groups)),
                             gemm_scratch_bytes(weights, places), size_t(chunks * y[3]) * sizeof(float)});
    if (groups > 1) bytes = std::max(bytes, size_t(k[0] / groups < kThin ? chunks * weights : weights) * sizeof(float));
    return bytes;
  }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // dx is one chain along at most all taps of a group's outputs, dweight and dbias along all positions.
  double gradient_k(const In& in) const {
    const Sizes y = infer(in)[0].sizes, k = in.weight.sizes;
    return std::max(chain_depth(k[1] * k[2] * y[3] / groups), chain_depth(y[0] * y[1] * y[2]));
  }
  double multiply_adds(const In& in) const {
    return double(infer(in)[0].sizes.count()) * double(in.weight.size(1) * in.weight.size(2) * in.weight.size(3));
  }
  Cost cost(const In& in) const { return traffic(2 * multiply_adds(in), in, infer(in)); }
  Cost backward_cost(const In& in) const { return backward_traffic(4 * multiply_adds(in), in, infer(in)); }

  static std::vector<Case<Conv2d>> cases() {
    struct Shape {
      int64_t n, h, w, c, o, kh, kw;
    };
    // As it is called in a name: 3x3 stride 1 with "same" padding and one group goes without saying.
    auto make = [](Conv2d op, Shape s, int samples, DType x = DType::f32, DType w = DType::f32, bool bias = true,
                   int64_t pad = 0) {
      auto pair = [](Pair p) { return p.h == p.w ? std::to_string(p.h) : format("{}x{}", p.h, p.w); };
      const Padding& p = op.padding;
      std::string id = format("N={},H={},W={},C={},O={},K={}", s.n, s.h, s.w, s.c, s.o, pair({int(s.kh), int(s.kw)}));
      if (op.stride != Pair{}) id += ",stride=" + pair(op.stride);
      if (p != same(int(s.kh)).padding)
        id += p == Padding{p.top, p.left, p.top, p.left} ? ",pad=" + pair({p.top, p.left})
                                                         : format(",pad={}+{}x{}+{}", p.top, p.bottom, p.left, p.right);
      if (op.dilation != Pair{}) id += ",dilation=" + pair(op.dilation);
      if (op.groups > 1) id += format(",groups={}", op.groups);
      if (x != DType::f32 || w != DType::f32) id += format(",{}x{}", name_of(x), name_of(w));
      if (!bias) id += ",no_bias";
      if (pad) id += ",strided";
      const int64_t inner = s.c / op.groups;
      const double deviation = 1 / std::sqrt(double(inner * s.kh * s.kw));
      return Case<Conv2d>(op, {.name = id,
                               .in = {normal({s.n, s.h, s.w, s.c}, 0.1).as(x).padded(pad),
                                      normal({s.o, s.kh, s.kw, inner}, 0, deviation).as(w),
                                      bias ? normal({s.o}).as(w) : absent()},
                               .samples = samples});
    };
    const DType f32 = DType::f32, b16 = DType::bf16;
    std::vector<Case<Conv2d>> list;
    auto add = [&](auto... arguments) { list.push_back(make(arguments...)); };
    add(same(3), Shape{2, 6, 7, 5, 9, 3, 3}, 2);
    add(same(3), Shape{2, 5, 9, 16, 33, 3, 3}, 2, f32, f32, false);
    add(same(3, 2), Shape{2, 7, 8, 4, 17, 3, 3}, 2);
    add(same(3, 2), Shape{2, 6, 5, 6, 7, 3, 3}, 2, b16, f32, true, 3);
    add(Conv2d{{2, 2}, {0, 0, 1, 1}, {}, 1}, Shape{2, 6, 8, 3, 5, 3, 3}, 2);     // the padding of an image autoencoder
    add(Conv2d{{1, 1}, {2, 2, 2, 2}, {2, 2}, 1}, Shape{2, 6, 7, 3, 5, 3, 3}, 2);
    for (int64_t c : {8, 16}) add(same(5), Shape{2, 3, 6, c, 3, 5, 5}, 2);  // taps in the padding where a panel ends
    add(Conv2d{{2, 3}, {3, 1, 0, 4}, {3, 2}, 1}, Shape{2, 9, 8, 3, 4, 2, 3}, 2);  // nothing divides anything
    add(Conv2d{{2, 2}, {2, 2, 2, 2}, {2, 2}, 1}, Shape{1, 7, 7, 2, 3, 3, 3}, 1);  // only one phase of dx has taps
    add(Conv2d{{3, 3}, {}, {}, 1}, Shape{2, 8, 9, 3, 5, 2, 2}, 2);                // inputs that nobody reads
    add(Conv2d{{1, 1}, {3, 2, 3, 2}, {}, 1}, Shape{2, 3, 4, 3, 5, 2, 1}, 2);      // windows of padding alone
    add(Conv2d{{2, 1}, {0, 3, 0, 3}, {}, 1}, Shape{2, 7, 5, 4, 6, 1, 7}, 2, f32, b16);
    add(Conv2d{{4, 4}, {}, {}, 1}, Shape{2, 8, 12, 3, 7, 4, 4}, 2);
    add(same(1), Shape{2, 5, 7, 31, 33, 1, 1}, 2);
    add(same(1), Shape{2, 3, 5, 33, 7, 1, 1}, 2, b16, b16, true, 1);
    add(same(1, 2), Shape{2, 5, 6, 5, 7, 1, 1}, 2);
    add(same(3, 1, 2), Shape{2, 5, 6, 6, 8, 3, 3}, 2);
    add(same(3, 2, 3), Shape{2, 6, 5, 9, 6, 3, 3}, 2, b16, b16);
    add(same(3, 1, 4), Shape{2, 4, 5, 4, 8, 3, 3}, 2);  // two filters a channel
    add(same(3, 1, 33), Shape{2, 5, 6, 33, 33, 3, 3}, 2);
    add(same(3, 2, 17), Shape{2, 7, 6, 17, 17, 3, 3}, 2, f32, f32, false);
    add(same(7, 1, 5), Shape{2, 5, 9, 5, 5, 7, 7}, 2, b16, f32, true, 2);
    add(same(7, 2, 16), Shape{2, 8, 9, 16, 16, 7, 7}, 2, b16, b16);
    add(Conv2d{{2, 1}, {2, 0, 1, 3}, {1, 2}, 3}, Shape{2, 6, 7, 3, 3, 3, 2}, 2);
    add(same(3, 1, 83), Shape{2, 3, 45, 83, 83, 3, 3}, 2);            // several vectors and blocks, and rests of both,
    add(same(3, 2, 67), Shape{2, 3, 71, 67, 67, 3, 3}, 2, b16);
    add(same(5, 1, 18), Shape{2, 17, 37, 18, 18, 5, 5}, 2, f32, f32, true, 3);  // chunks that end inside a row,
    add(same(7, 2, 20), Shape{2, 2, 75, 20, 20, 7, 7}, 2);
    add(Conv2d{{2, 2}, {5, 0, 5, 6}, {}, 16}, Shape{1, 4, 40, 16, 16, 3, 5}, 1);  // and windows of padding alone
    add(same(3), Shape{2, 3, 4, 64, 5, 3, 3}, 2);        // a second chunk forward,
    add(same(3, 2), Shape{2, 5, 4, 61, 3, 3, 3}, 2, b16, f32);
    add(same(3), Shape{2, 4, 3, 3, 60, 3, 3}, 2);        // in dx
    add(same(1), Shape{2, 24, 25, 2, 3, 1, 1}, 2);       // and in the gradients of the weights,
    add(same(3), Shape{4, 15, 23, 1, 2, 3, 3}, 2, b16);  // inside an image of a leaf
    add(same(3, 1, 2), Shape{2, 20, 27, 2, 2, 3, 3}, 2);
    add(same(3), Shape{2, 5, 14, 3, 20, 3, 3}, 2);  // few inputs: lines of the image, one vector of outputs and two,
    add(same(3, 2), Shape{2, 7, 31, 6, 33, 3, 3}, 2, b16, f32, true, 2);
    add(Conv2d{{2, 1}, {3, 0, 1, 5}, {2, 1}, 1}, Shape{1, 6, 13, 7, 9, 3, 4}, 1, f32, b16, false);
    add(same(7, 3), Shape{2, 8, 40, 1, 48, 7, 7}, 2, b16, b16);
    add(Conv2d{{1, 1}, {0, 0, 4, 0}, {}, 1}, Shape{3, 6, 13, 3, 9, 3, 2}, 3);  // padding beyond the window's reach
    add(same(3), Shape{2, 2, 291, 3, 4, 3, 3}, 2, b16, f32, true, 1);  // few outputs: several tiles of places,
    add(same(3, 2), Shape{1, 3, 301, 6, 20, 3, 3}, 1);
    add(Conv2d{{2, 3}, {1, 2, 3, 4}, {2, 4}, 2}, Shape{1, 7, 151, 6, 8, 3, 3}, 1, b16, b16);
    add(same(3), Shape{1, 2, 300, 70, 2, 3, 3}, 1);  // several blocks and chunks
    add(same(3), Shape{1, 2, 300, 2, 70, 3, 3}, 1);
    add(same(3, 1, 2), Shape{2, 3, 4, 34, 38, 3, 3}, 2, b16);  // groups of many channels,
    add(same(1, 1, 2), Shape{2, 3, 5, 34, 36, 1, 1}, 2);
    add(same(3, 1, 2), Shape{1, 2, 3, 120, 4, 3, 3}, 1);  // of few and many: two chunks forward, and in dx
    add(same(3, 1, 2), Shape{1, 2, 3, 4, 120, 3, 3}, 1);
    for (int64_t s : {1, 5, 7, 31, 33}) add(same(3), Shape{1, s > 9 ? 2 : s, s > 9 ? 3 : s, s, s, 3, 3}, 1);
    add(same(3), Shape{0, 5, 7, 3, 4, 3, 3}, 1);
    list.back().gradient = false;  // all zero
    list.push_back(
        {same(3, 2), {.name = "adversarial",
                      .in = {adversarial({2, 5, 6, 60}), adversarial({5, 3, 3, 60}), adversarial({5})},
                      .samples = 2}});

    list.push_back({same(3, 1, 70), {.name = "depthwise adversarial",
                                     .in = {adversarial({2, 3, 20, 70}), adversarial({70, 3, 3, 1}), adversarial({70})},
                                     .samples = 2}});

    // The image tokenizer's layers (128 x 256 frames, and the 64 x 128 of small presets), then FastViT's.
    const size_t tested = list.size();
    add(same(3), Shape{8, 128, 256, 3, 32, 3, 3}, 1);
    add(same(3, 2), Shape{8, 128, 256, 32, 64, 3, 3}, 1);
    add(same(3), Shape{8, 64, 128, 64, 64, 3, 3}, 1);
    add(same(3), Shape{8, 32, 64, 128, 128, 3, 3}, 1);
    add(same(3), Shape{8, 16, 32, 256, 256, 3, 3}, 1);
    add(same(3), Shape{16, 8, 16, 256, 256, 3, 3}, 1);
    add(same(3), Shape{8, 128, 256, 32, 3, 3, 3}, 1);
    add(same(3), Shape{8, 16, 32, 256, 4, 3, 3}, 1);
    add(same(3, 2), Shape{8, 32, 64, 128, 256, 3, 3}, 1);
    add(same(3), Shape{8, 64, 128, 32, 32, 3, 3}, 1, b16, f32);
    add(same(3, 2), Shape{8, 128, 256, 6, 64, 3, 3}, 1);
    add(same(1), Shape{8, 32, 64, 64, 192, 1, 1}, 1);
    add(same(1), Shape{8, 32, 64, 192, 64, 1, 1}, 1);
    add(same(1), Shape{8, 8, 16, 256, 768, 1, 1}, 1);
    add(same(3, 1, 64), Shape{8, 32, 64, 64, 64, 3, 3}, 1);
    add(same(7, 1, 64), Shape{8, 32, 64, 64, 64, 7, 7}, 1);
    add(same(7, 2, 64), Shape{8, 32, 64, 64, 64, 7, 7}, 1);
    add(same(3, 2, 64), Shape{8, 64, 128, 64, 64, 3, 3}, 1);
    add(same(7, 1, 256), Shape{8, 8, 16, 256, 256, 7, 7}, 1);
    for (size_t i = tested; i < list.size(); i++) list[i].bench = true;
    return list;
  }
};

}  // namespace dr
