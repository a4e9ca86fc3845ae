#pragma once
// Information bottleneck: white Gaussian noise of known power on normalised features. A Gaussian channel passes at most
// 1/2 log2(1 + SNR) bits per feature; channel_capacity measures how many it does pass.
//
//   y[r,c] = n[r,c] + sigma z[r,c],   n[r,c] = (x[r,c] - mean[c]) inv_std[c]        mean, inv_std absent: n = x
//   sigma = 0 passes n through, as evaluation without noise wants.
//
//   x (B, ..., C) f32|bf16, packed but for axis 0, which counts samples and may be strided    y like x, packed
//   rng (4) u32: seed low, seed high, step, reserved    sigma (1) f32    mean, inv_std (C) f32, both or neither: the
//     running statistics. All four are shared.
//   z: standard normals of core/philox.h; element index = first_sample * (elements per sample) + position in y, so a
//     slice of a batch, another rank or a recomputation draws the same noise.
// Order: n is one subtraction and one product; y = fma(sigma, z, n), or n where sigma = 0.
// backward: dx = dy inv_std (dx = dy without normalisation). No gradient to the statistics and sigma.
// Deterministic, independent of B. Throws if C == 0, or if only one of mean and inv_std is given.
// Source: arXiv:2504.19077, section 5; Cover & Thomas 2006, Elements of Information Theory, chapter 9.

#include "kernels/core/op.h"
#include "kernels/core/philox.h"

namespace dr {

struct GaussianBottleneck {
  static constexpr std::string_view name = "bottleneck";

  struct In {
    View x, rng, sigma, mean, inv_std;
    static constexpr auto names = fields("x", "rng", "sigma", "mean", "inv_std");
    static constexpr auto shared = fields("rng", "sigma", "mean", "inv_std");
  };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x; static constexpr auto names = fields("x"); };

  Shapes infer(const In& in) const {
    CHECK(in.x.rank() >= 2 && in.x.size(in.x.rank() - 1) > 0, "bottleneck: x must be (B, ..., C) with C > 0, got {}",
          to_string(in.x));
    expect_float(in.x, "bottleneck: x");
    CHECK(in.x.packed(1), "bottleneck: x must be packed but for axis 0");
    CHECK(in.rng.dtype == DType::u32 && in.rng.sizes == Sizes{kRngWords}, "bottleneck: rng must be u32({}), got {}",
          kRngWords, to_string(in.rng));
    expect_f32(in.sigma, {1}, "bottleneck: sigma");
    CHECK(in.mean.present() == in.inv_std.present(), "bottleneck: mean is {} and inv_std is {}: give both or neither",
          to_string(in.mean), to_string(in.inv_std));
    if (in.mean) {
      expect_f32(in.mean, {in.x.sizes[-1]}, "bottleneck: mean");
      expect_f32(in.inv_std, {in.x.sizes[-1]}, "bottleneck: inv_std");
    }
    return {{in.x.dtype, in.x.sizes}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // One product.
  double gradient_k(const In&) const { return 2; }
  Cost cost(const In& in) const { return traffic(23.0 * double(in.x.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {  // reads dy and inv_std, writes dx
    return {double(in.x.count()), double(in.x.bytes() + in.inv_std.bytes()), double(in.x.bytes())};
  }

  static std::vector<Case<GaussianBottleneck>> cases() {
    const Input rng = values({kRngWords}, {2596069104, 305419896, 7, 0}).as(DType::u32);
    auto make = [&](Sizes s, DType t, double sigma, bool normalise, int samples, int64_t pad = 0, bool bench = false) {
      return Case<GaussianBottleneck>({}, {.name = format("{},{},sigma={}{}{}", to_string(s), name_of(t), sigma,
                                                          normalise ? ",normalised" : "", pad ? ",strided" : ""),
                                           .in = {normal(s, 0.4, 2).as(t).padded(pad), rng, values({1}, {sigma}),
                                                  normalise ? normal({s[-1]}, 0.4, 0.5) : absent(),
                                                  normalise ? uniform({s[-1]}, 0.3, 0.8) : absent()},
                                           .samples = samples,
                                           .bench = bench});
    };
    std::vector<Case<GaussianBottleneck>> list;
    for (DType t : {DType::f32, DType::bf16})
      for (bool normalise : {false, true}) {
        list.push_back(make({5, 33}, t, 0.42, normalise, 5));
        list.push_back(make({3, 64}, t, 0.42, normalise, 3, 5));
        list.push_back(make({2, 3, 7}, t, 0.42, normalise, 2));
        list.push_back(make({3, 31}, t, 0, normalise, 3));
      }
    list.push_back(make({3, 20, 512}, DType::f32, 0.42, true, 3));
    list.push_back(make({0, 8}, DType::f32, 0.42, true, 1));
    list.push_back(Case<GaussianBottleneck>(
        {}, {.name = "adversarial",
             .in = {adversarial({6, 40}), rng, values({1}, {3}), adversarial({40}), adversarial({40})},
             .samples = 6}));
    list.push_back(make({4096, 512}, DType::f32, 0.42, true, 1, 0, true));
    list.push_back(make({65536, 512}, DType::f32, 0.42, true, 1, 0, true));
    list.push_back(make({65536, 512}, DType::f32, 0.42, false, 1, 0, true));
    return list;
  }
};

}  // namespace dr
