#pragma once
// Batch normalisation of images, channels last, with the statistics of a leaf instead of the whole batch.
//
//   y[n,h,w,c] = xhat weight[c] + bias[c],   xhat = (x[n,h,w,c] - mean[c]) rstd[c],   rstd = 1 / sqrt(variance + eps)
//   Statistics::leaf (training): mean and variance (biased) over the pixels of the `leaf_samples` samples of n's leaf.
//   Statistics::running (evaluation): they are inputs, constants of the formula.
//
//   x (N,H,W,C) f32|bf16, pixels of the leaf (evaluation: of an image) evenly spaced    weight, bias (C) f32
//   running_mean, running_variance (C) f32: evaluation only, else absent    y like x, packed
//   mean, variance (L,C) f32, L = N / leaf_samples: training only, else absent. BatchNormRunning takes them up.
// Order: core/channel_groups.h states the statistics' (a unit is a leaf, a group one channel); in training
//   y = fma((x - mean) rstd, weight, bias); in evaluation y = fma(x, scale, shift) with scale = weight rstd and
//   shift = fma(-mean, scale, bias), the form that folds into a convolution.
// backward, per leaf and channel, over the leaf's pixels: dbias = column sum of dy, dweight = column sum of dy xhat (fma
//   chain), chunks of 512 added in ascending order. Training: dx = rstd fma(-xhat, b, dy weight - a) with
//   a = weight dbias / count, b = weight dweight / count, count the pixels of a leaf. Evaluation: dx = dy (weight rstd),
//   and running_mean and running_variance have no gradient.
// Deterministic; a leaf's results depend on no other leaf. Throws if a leaf or an image is empty, if leaf_samples does
// not divide N, or, backward in training, if the context's leaves are not these.
// Source: Ioffe & Szegedy 2015, arXiv:1502.03167; leaves as "ghost batches": Hoffer et al. 2017, arXiv:1705.08741.

#include <algorithm>

#include "kernels/core/channel_groups.h"
#include "kernels/core/op.h"

namespace dr {

enum class Statistics : uint8_t { leaf, running };

struct BatchNorm {
  static constexpr std::string_view name = "batch_norm";
  Statistics statistics = Statistics::leaf;
  int leaf_samples = 1;  // training only
  float eps = 1e-5f;

  struct In {
    View x, weight, bias, running_mean, running_variance;
    static constexpr auto names = fields("x", "weight", "bias", "running_mean", "running_variance");
    static constexpr auto shared = fields("weight", "bias", "running_mean", "running_variance");
  };
  struct Out { View y, mean, variance; static constexpr auto names = fields("y", "mean", "variance"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x, weight, bias; static constexpr auto names = fields("x", "weight", "bias"); };

  // Of leaves of that many samples: a unit is a leaf, a group one channel.
  static ChannelGroups geometry(const View& x, int64_t samples) {
    return {x.size(0) / samples, samples * x.size(1) * x.size(2), x.size(3), x.size(3)};
  }
  int64_t unit_samples() const { return statistics == Statistics::leaf ? leaf_samples : 1; }

  Shapes infer(const In& in) const {
    expect_float(in.x, "batch_norm: x");
    CHECK(leaf_samples > 0, "batch_norm: leaf_samples must be positive, got {}", leaf_samples);
    pixel_rows(in.x, unit_samples(), "batch_norm: x");
    const Sizes s = in.x.sizes, channels{s[3]};
    CHECK(s[1] * s[2] * s[3] > 0, "batch_norm: an image must not be empty, got {}", to_string(in.x));
    expect_f32(in.weight, channels, "batch_norm: weight");
    expect_f32(in.bias, channels, "batch_norm: bias");
    if (statistics == Statistics::running) {
      expect_f32(in.running_mean, channels, "batch_norm: running_mean");
      expect_f32(in.running_variance, channels, "batch_norm: running_variance");
      return {{in.x.dtype, s}, {}, {}};
    }
    CHECK(!in.running_mean && !in.running_variance,
          "batch_norm: the statistics of leaves are taken from x, running_mean and running_variance must be absent");
    const Sizes leaves{s[0] / leaf_samples, s[3]};
    return {{in.x.dtype, s}, {DType::f32, leaves}, {DType::f32, leaves}};
  }
  size_t scratch_bytes(const In& in, int) const {
    const ChannelGroups g = geometry(in.x, unit_samples());  // evaluation: leaves of one sample need the most
    return g.scratch_bytes() + size_t((g.units + 2) * g.cols) * sizeof(float);
  }
  size_t device_scratch_bytes(const In& in) const {
    const ChannelGroups g = geometry(in.x, unit_samples());
    return g.device_scratch_bytes() + size_t((g.units + 2) * g.cols) * sizeof(float);
  }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // xhat carries the errors of two sums over a leaf, and dx those of two more.
  double gradient_k(const In& in) const { return 30 + 4 * geometry(in.x, std::max<int64_t>(1, in.x.size(0))).depth(); }
  Cost cost(const In& in) const { return traffic(9.0 * double(in.x.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const { return backward_traffic(15.0 * double(in.x.count()), in, infer(in)); }

  static std::vector<Case<BatchNorm>> cases() {
    struct Shape {
      int64_t n, h, w, c;
    };
    // leaf: samples of a leaf; 0 in evaluation.
    auto make = [](Shape s, int leaf, int samples, DType t = DType::f32, int64_t pad = 0) {
      const bool running = leaf == 0;
      return Case<BatchNorm>(
          {.statistics = running ? Statistics::running : Statistics::leaf, .leaf_samples = running ? 1 : leaf},
          {.name = format("N={},H={},W={},C={},{},{}{}", s.n, s.h, s.w, s.c, running ? "running" : format("leaf={}", leaf),
                          name_of(t), pad ? ",strided" : ""),
           .in = {normal({s.n, s.h, s.w, s.c}, 0.3, 2).as(t).padded(pad), normal({s.c}, 1, 0.5), normal({s.c}, 0, 0.5),
                  running ? normal({s.c}, 0.3, 0.5) : absent(), running ? uniform({s.c}, 0.1, 4) : absent()},
           .samples = samples,
           .leaves = samples});
    };
    std::vector<Case<BatchNorm>> list;
    for (DType t : {DType::f32, DType::bf16})
      for (int64_t pad : {0, 3}) {
        list.push_back(make({4, 3, 5, 33 + pad}, 2, 2, t, pad));
        list.push_back(make({4, 3, 5, 33 + pad}, 0, 2, t, pad));
      }
    list.push_back(make({6, 3, 2, 112}, 3, 2));   // strips of 64, 32 and 16 columns
    list.push_back(make({4, 17, 19, 5}, 2, 2));   // chunks of 512 and 134 pixels, across images
    list.push_back(make({4, 17, 19, 5}, 0, 2));
    list.push_back(make({2, 23, 24, 7}, 1, 2));
    for (int64_t s : {1, 5, 31}) list.push_back(make({2, s, 2, s}, 2, 1));
    list.push_back(make({5, 1, 1, 7}, 5, 1));
    list.push_back(make({3, 1, 1, 7}, 0, 3));
    list.push_back(make({3, 1, 1, 7}, 1, 3));
    list.back().gradient = false;  // what equals its mean has no gradient
    for (int leaf : {1, 0}) {
      list.push_back(make({0, 2, 3, 6}, leaf, 1));
      list.back().gradient = false;
    }
    list.push_back(Case<BatchNorm>({.leaf_samples = 2},
                                   {.name = "adversarial",
                                    .in = {adversarial({4, 3, 4, 20}), normal({20}), normal({20}), absent(), absent()},
                                    .samples = 2}));
    Case<BatchNorm> far = make({4, 4, 5, 12}, 2, 2);  // a mean of 4000 deviations
    far.name += ",far", far.in[0] = normal({4, 4, 5, 12}, 4000, 1);
    far.gradient = false;  // central differences lose it
    list.push_back(far);
    // FastViT's layers, and the stem.
    const size_t tested = list.size();
    for (int leaf : {8, 0}) {
      list.push_back(make({8, 32, 64, 64}, leaf, 1));
      list.push_back(make({16, 64, 128, 64}, leaf, leaf ? 2 : 1));
    }
    list.push_back(make({8, 8, 16, 256}, 8, 1));
    for (size_t i = tested; i < list.size(); i++) list[i].bench = true;
    return list;
  }
};

}  // namespace dr
