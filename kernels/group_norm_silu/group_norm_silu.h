#pragma once
// Group normalisation of images, channels last, with SiLU behind it where `silu` is set.
//
//   z[n,h,w,c] = (x[n,h,w,c] - mean[n,g]) rstd[n,g] weight[c] + bias[c],   g = c / (C / groups) the group of c
//   y = z, or with silu: y = z sigmoid(z)
//   mean, variance (biased) over the pixels and channels of a group,   rstd = 1 / sqrt(variance + eps)
//
//   x (N,H,W,C) f32|bf16, pixels of an image evenly spaced    weight, bias (C) f32    y like x, packed
//   mean, rstd (N,groups) f32: saved for backward. groups = C is instance normalisation.
// Order: core/channel_groups.h states the statistics' (a unit is a sample); z = fma((x - mean) rstd, weight, bias); the
//   sigmoid is that of core/sigmoid.h.
// backward: dz = dy, or with silu dy (s fma(z, 1 - s, 1)), s = sigmoid(z). By channel and sample, over the pixels:
//   A = column sum of dz, B = column sum of dz xhat (fma chain), chunks of 512 pixels added in ascending order.
//   dx = rstd fma(-xhat, b, dz weight - a), a and b the row sums of weight A and weight B over the group's channels,
//   each divided by the group's count. Per leaf: dbias and dweight = column sums of A and B over the leaf's samples.
// So y and dx with silu are, in f32, those of the normalisation followed by SiLU, bit for bit.
// Deterministic; y and dx are independent of N and of leaves. Throws if an image is empty or groups does not divide C.
// Source: Wu & He 2018, arXiv:1803.08494; SiLU: Elfwing et al. 2017, arXiv:1702.03118.

#include <algorithm>

#include "kernels/core/channel_groups.h"
#include "kernels/core/op.h"

namespace dr {

struct GroupNormSilu {
  static constexpr std::string_view name = "group_norm_silu";
  int groups = 32;
  float eps = 1e-5f;
  bool silu = true;

  struct In {
    View x, weight, bias;
    static constexpr auto names = fields("x", "weight", "bias");
    static constexpr auto shared = fields("weight", "bias");
  };
  struct Out { View y, mean, rstd; static constexpr auto names = fields("y", "mean", "rstd"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x, weight, bias; static constexpr auto names = fields("x", "weight", "bias"); };

  ChannelGroups geometry(const View& x) const { return {x.size(0), x.size(1) * x.size(2), x.size(3), groups}; }

  Shapes infer(const In& in) const {
    expect_float(in.x, "group_norm_silu: x");
    pixel_rows(in.x, 1, "group_norm_silu: x");
    const int64_t c = in.x.size(3);
    CHECK(in.x.size(1) * in.x.size(2) * c > 0, "group_norm_silu: an image must not be empty, got {}", to_string(in.x));
    CHECK(groups > 0 && c % groups == 0, "group_norm_silu: {} groups do not divide C={}", groups, c);
    expect_f32(in.weight, {c}, "group_norm_silu: weight");
    expect_f32(in.bias, {c}, "group_norm_silu: bias");
    const Sizes statistics{in.x.size(0), groups};
    return {{in.x.dtype, in.x.sizes}, {DType::f32, statistics}, {DType::f32, statistics}};
  }
  size_t scratch_bytes(const In& in, int) const { return geometry(in.x).scratch_bytes(); }
  size_t device_scratch_bytes(const In& in) const { return geometry(in.x).device_scratch_bytes(); }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // xhat carries the errors of two sums over a group, and dx those of two more; SiLU and its derivative are 10 roundings.
  double gradient_k(const In& in) const { return 40 + 4 * geometry(in.x).depth() + double(in.x.size(0)); }
  Cost cost(const In& in) const { return traffic((silu ? 14.0 : 9.0) * double(in.x.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {
    return backward_traffic((silu ? 30.0 : 15.0) * double(in.x.count()), in, infer(in));
  }

  static std::vector<Case<GroupNormSilu>> cases() {
    struct Shape {
      int64_t n, h, w, c;
      int groups;
    };
    auto make = [](Shape s, int samples, bool silu, DType t = DType::f32, int64_t pad = 0) {
      return Case<GroupNormSilu>(
          {.groups = s.groups, .silu = silu},
          {.name = format("N={},H={},W={},C={},G={},{}{}{}", s.n, s.h, s.w, s.c, s.groups, name_of(t),
                          silu ? ",silu" : "", pad ? ",strided" : ""),
           .in = {normal({s.n, s.h, s.w, s.c}, 0.3, 2).as(t).padded(pad), normal({s.c}, 1, 0.5), normal({s.c}, 0, 0.5)},
           .samples = samples});
    };
    std::vector<Case<GroupNormSilu>> list;
    for (DType t : {DType::f32, DType::bf16})
      for (bool silu : {false, true}) {
        list.push_back(make({4, 3, 5, 24, 8}, 2, silu, t));  // leaves of two samples
        list.push_back(make({2, 5, 7, 33, 11}, 2, silu, t, 3));
      }
    list.push_back(make({2, 4, 3, 70, 1}, 2, true));      // strips of 64, and a group across them
    list.push_back(make({2, 3, 3, 112, 112}, 2, false));  // instance normalisation
    list.push_back(make({2, 23, 24, 4, 2}, 2, true));     // chunks of 512 and 40 pixels
    list.push_back(make({2, 1, 1, 31, 1}, 2, true));
    for (int64_t s : {1, 5, 7}) list.push_back(make({1, s, 33, 1, 1}, 1, s != 1));
    list.push_back(make({520, 1, 2, 4, 2}, 1, true));     // chunks of 512 and 8 samples
    list.push_back(make({1, 1, 1, 5, 5}, 1, true));
    list.back().gradient = false;  // what equals its mean has no gradient
    list.push_back(make({0, 2, 3, 6, 3}, 1, true));
    list.back().gradient = false;
    list.push_back(Case<GroupNormSilu>({.groups = 4, .silu = false}, {.name = "adversarial",
                                                                      .in = {adversarial({3, 3, 4, 20}), normal({20}), normal({20})},
                                                                      .samples = 3}));
    Case<GroupNormSilu> far = make({2, 4, 5, 12, 3}, 2, true);  // a mean of 4000 deviations
    far.name += ",far", far.in[0] = normal({2, 4, 5, 12}, 4000, 1);
    far.gradient = false;  // central differences lose it
    list.push_back(far);
    // The image tokenizer's layers.
    const size_t tested = list.size();
    for (bool silu : {false, true}) {
      list.push_back(make({8, 32, 64, 128, 32}, 1, silu));
      list.push_back(make({8, 128, 256, 64, 32}, 1, silu));
    }
    list.push_back(make({8, 16, 32, 256, 32}, 1, true));
    list.push_back(make({8, 128, 256, 64, 32}, 1, true, DType::bf16));
    for (size_t i = tested; i < list.size(); i++) list[i].bench = true;
    return list;
  }
};

}  // namespace dr
