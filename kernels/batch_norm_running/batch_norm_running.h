#pragma once
// The running statistics of batch normalisation, taken on by the statistics of a step's leaves, one leaf after another.
//
//   for l = 0 .. L-1:  mean += momentum (leaf_mean[l] - mean)
//                      variance += momentum (leaf_variance[l] count / (count - 1) - variance)
//
//   mean, variance (C) f32: the state    leaf_mean, leaf_variance (L,C) f32: outputs of batch_norm, rows may be strided
//   mean', variance' (C) f32: each may be the memory of its input
// count: pixels of a leaf that one leaf_mean stands for. leaf_variance is biased, the running one unbiased, and momentum
//   is the share of what is new: PyTorch's conventions, had it been given one leaf after another.
// Order: each line is one fma of (momentum, difference, state); the variance is first multiplied by the quotient
//   float(count) / float(count - 1). L == 0 leaves the state as it is.
// Forward only. Deterministic; since leaves come in order, cutting a step into calls of whole leaves changes nothing.
// Throws if count < 2: a single value has no variance.

#include "kernels/core/op.h"

namespace dr {

struct BatchNormRunning {
  static constexpr std::string_view name = "batch_norm_running";
  int64_t count = 2;
  float momentum = 0.1f;

  struct In {
    View mean, variance, leaf_mean, leaf_variance;
    static constexpr auto names = fields("mean", "variance", "leaf_mean", "leaf_variance");
    static constexpr auto shared = fields("mean", "variance");
  };
  struct Out {
    View mean, variance;
    static constexpr auto names = fields("mean", "variance"), shared = names;
  };

  Shapes infer(const In& in) const {
    CHECK(count >= 2, "batch_norm_running: count must be at least 2, got {}", count);
    CHECK(momentum >= 0 && momentum <= 1, "batch_norm_running: momentum must be within [0, 1], got {}", momentum);
    CHECK(in.mean.rank() == 1, "batch_norm_running: mean must be (C), got {}", to_string(in.mean));
    CHECK(in.leaf_mean.rank() == 2, "batch_norm_running: leaf_mean must be (L,C), got {}", to_string(in.leaf_mean));
    const Sizes channels = in.mean.sizes, leaves{in.leaf_mean.size(0), channels[0]};
    expect_f32(in.mean, channels, "batch_norm_running: mean");
    expect_f32(in.variance, channels, "batch_norm_running: variance");
    expect_f32(in.leaf_mean, leaves, "batch_norm_running: leaf_mean");
    expect_f32(in.leaf_variance, leaves, "batch_norm_running: leaf_variance");
    return {{DType::f32, channels}, {DType::f32, channels}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  void reference(const In&, const Out&, const Out& bound) const;
  Cost cost(const In& in) const { return traffic(7.0 * double(in.leaf_mean.count()), in, infer(in)); }

  static std::vector<Case<BatchNormRunning>> cases() {
    auto make = [](int64_t leaves, int64_t c, int64_t count, float momentum, int64_t pad = 0) {
      return Case<BatchNormRunning>(
          {.count = count, .momentum = momentum},
          {.name = format("L={},C={},count={},momentum={}{}", leaves, c, count, momentum, pad ? ",strided" : ""),
           .in = {normal({c}), uniform({c}, 0, 2), normal({leaves, c}).padded(pad), uniform({leaves, c}, 0, 3).padded(pad)}});
    };
    std::vector<Case<BatchNormRunning>> list = {make(8, 33, 512, 0.1f),  make(1, 1, 2, 0.1f), make(3, 64, 7, 0.01f, 3),
                                                make(31, 5, 16384, 1),   make(5, 7, 3, 0),    make(0, 7, 3, 0.1f),
                                                make(4, 0, 3, 0.1f)};
    list.push_back({{.count = 100},
                    {.name = "adversarial",
                     .in = {adversarial({40}), uniform({40}, 0, 1e6), adversarial({5, 40}), uniform({5, 40}, 0, 1e-6)}}});
    list.push_back(make(64, 1024, 4096, 0.1f));
    list.back().bench = true;
    return list;
  }
};

}  // namespace dr
