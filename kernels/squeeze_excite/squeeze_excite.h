#pragma once
// Squeeze and excitation: each channel of an image is scaled by a gate that a small network makes of the channels' means.
//
//   s[n,c] = sum over (h,w) of x[n,h,w,c] / (H W)
//   hidden[n,r] = relu(sum_c reduce[r,c] s[n,c] + reduce_bias[r])
//   gate[n,c] = sigmoid(sum_r expand[c,r] hidden[n,r] + expand_bias[c])
//   y[n,h,w,c] = x[n,h,w,c] gate[n,c]
//
//   x (N,H,W,C) f32|bf16, pixels of an image evenly spaced    y like x, packed
//   reduce (R,C), expand (C,R) f32|bf16    reduce_bias (R), expand_bias (C) of their weight's type
//   squeeze (N,C), hidden (N,R), gate (N,C) f32: saved for backward
// Order: s as AvgPool2d over the whole image (chain of additions in chunks of 512 pixels, one division); the products as
//   Linear's; relu(v) = v < 0 ? 0 : v; the sigmoid of core/sigmoid.h. So it equals those ops in turn, bit for bit.
// backward, by sample: dgate[c] = column sum of dy x over the pixels (fma chain, chunks of 512)
//   dz = dgate (gate (1 - gate));  da[r] = (hidden[r] <= 0 ? 0 : sum_c dz[c] expand[c,r]);  ds[c] = sum_r da[r] reduce[r,c]
//   dx = fma(dy, gate, ds / (H W)). Products along c and r as Linear's gradients; so are, per leaf, those of the weights
//   (products along the samples) and biases (column sums).
// Deterministic; all but the weights' gradients are independent of N and of leaves. Throws if the shapes do not fit
// together or an image is empty.
// Source: Hu et al. 2018, arXiv:1709.01507; in FastViT, arXiv:2303.14189, behind the last stage.

#include <cmath>

#include "kernels/core/pixels.h"
#include "kernels/core/row_groups.h"
#include "kernels/linear/linear.h"

namespace dr {

struct SqueezeExcite {
  static constexpr std::string_view name = "squeeze_excite";

  struct In {
    View x, reduce, reduce_bias, expand, expand_bias;
    static constexpr auto names = fields("x", "reduce", "reduce_bias", "expand", "expand_bias");
    static constexpr auto shared = fields("reduce", "reduce_bias", "expand", "expand_bias");
  };
  struct Out {
    View y, squeeze, hidden, gate;
    static constexpr auto names = fields("y", "squeeze", "hidden", "gate");
  };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad {
    View x, reduce, reduce_bias, expand, expand_bias;
    static constexpr auto names = fields("x", "reduce", "reduce_bias", "expand", "expand_bias");
  };

  static constexpr int64_t kChunk = 512;  // pixels of one chain
  static int64_t chunks(const View& x) { return (x.size(1) * x.size(2) + kChunk - 1) / kChunk; }

  Shapes infer(const In& in) const {
    expect_float(in.x, "squeeze_excite: x");
    pixel_rows(in.x, 1, "squeeze_excite: x");
    const int64_t n = in.x.size(0), c = in.x.size(3);
    CHECK(in.x.size(1) * in.x.size(2) * c > 0, "squeeze_excite: an image must not be empty, got {}", to_string(in.x));
    CHECK(in.reduce_bias.present() && in.expand_bias.present(), "squeeze_excite: both biases must be given");
    const View squeeze(nullptr, DType::f32, {n, c});
    const Sizes hidden = linear_sizes(squeeze, in.reduce, in.reduce_bias, "squeeze_excite: reduce");
    const Sizes gate =
        linear_sizes(View(nullptr, DType::f32, hidden), in.expand, in.expand_bias, "squeeze_excite: expand");
    CHECK(gate == squeeze.sizes, "squeeze_excite: expand must be (C,R) with C={}, got {}", c, to_string(in.expand));
    return {{in.x.dtype, in.x.sizes}, {DType::f32, gate}, {DType::f32, hidden}, {DType::f32, gate}};
  }
  // The chunks' sums; then backward's dz, da and ds.
  size_t scratch_bytes(const In& in, int) const {
    return size_t(in.x.size(0) * ((chunks(in.x) + 2) * in.x.size(3) + in.reduce.size(0))) * sizeof(float);
  }
  // Then chunks of samples, in the biases' gradients: one leaf needs the most.
  size_t device_scratch_bytes(const In& in) const {
    const int64_t widest = std::max(in.x.size(3), in.reduce.size(0));
    return scratch_bytes(in, 1) + RowGroups(1, in.x.size(0), widest).scratch_bytes(1);
  }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // Along the deepest path: the mean, both products forward, the sum over the pixels, both products back, the samples.
  // gate (1 - gate) loses up to 1 / (1 - gate), 20 times for the cases' |z| < 3, of the error of gate: 3 roundings and a
  // quarter of the error of z, which the mean and both products make.
  double gradient_k(const In& in) const {
    const double forward = chain_depth(in.x.size(1) * in.x.size(2)) + chain_depth(in.x.size(3)) + chain_depth(in.reduce.size(0));
    return 20 + 2 * forward + chain_depth(in.x.size(0)) + 20 * (3 + forward / 4);
  }
  Cost cost(const In& in) const {
    return traffic(2.0 * double(in.x.count()) + 4.0 * double(in.x.size(0) * in.reduce.count()), in, infer(in));
  }
  Cost backward_cost(const In& in) const {
    return backward_traffic(4.0 * double(in.x.count()) + 8.0 * double(in.x.size(0) * in.reduce.count()), in, infer(in));
  }

  static std::vector<Case<SqueezeExcite>> cases() {
    struct Shape {
      int64_t n, h, w, c, r;
    };
    auto make = [](Shape s, int samples, DType x = DType::f32, DType w = DType::f32, int64_t pad = 0) {
      auto weight = [&](int64_t rows, int64_t cols) {
        return normal({rows, cols}, 0, 0.7 / std::sqrt(double(cols))).as(w);
      };
      return Case<SqueezeExcite>({}, {.name = format("N={},H={},W={},C={},R={},{}x{}{}", s.n, s.h, s.w, s.c, s.r,
                                                     name_of(x), name_of(w), pad ? ",strided" : ""),
                                      .in = {normal({s.n, s.h, s.w, s.c}, 0.3, 2).as(x).padded(pad),
                                             weight(s.r, s.c).padded(pad), normal({s.r}, 0.5).as(w), weight(s.c, s.r),
                                             normal({s.c}, 0, 0.5).as(w)},
                                      .samples = samples});
    };
    const DType f32 = DType::f32, b16 = DType::bf16;
    std::vector<Case<SqueezeExcite>> list = {make({4, 3, 5, 33, 7}, 2),  // leaves of two samples
                                             make({2, 5, 7, 31, 5}, 2, b16),
                                             make({2, 3, 4, 40, 9}, 2, f32, b16, 3),
                                             make({2, 2, 3, 7, 31}, 2, b16, b16, 1),
                                             make({2, 23, 24, 5, 3}, 2),   // chunks of 512 and 40 pixels
                                             make({1, 1, 2, 600, 3}, 1),   // and of channels
                                             make({520, 1, 2, 3, 2}, 1),   // and of samples
                                             make({3, 1, 1, 1, 5}, 3),
                                             make({5, 2, 1, 112, 4}, 5)};
    list.push_back(make({0, 2, 3, 6, 2}, 1));
    list.back().gradient = false;
    list.push_back({{}, {.name = "adversarial",
                         .in = {adversarial({2, 3, 4, 20}), normal({6, 20}), normal({6}), normal({20, 6}), normal({20})},
                         .samples = 2,
                         .gradient = false}});  // gates are shut or open: nothing is left to differentiate
    const size_t tested = list.size();
    list.push_back(make({8, 8, 16, 512, 32}, 1));
    list.push_back(make({8, 32, 64, 128, 32}, 1));
    for (size_t i = tested; i < list.size(); i++) list[i].bench = true;
    return list;
  }
};

}  // namespace dr
