#pragma once
// Exponential moving average of one tensor of parameters.
//
//   average' = decay * average + (1 - decay) * x
//
//   average, x f32 of one shape, packed    decay (1) f32: an input, since it warms up    average' may be the memory of
//   average
// Order: rest = 1 - decay once per call; average' = fma(decay, average, rest * x). decay == 1 keeps the average's bits
// where x is finite. Forward only. Each element stands alone.

#include "kernels/core/op.h"

namespace dr {

struct Ema {
  static constexpr std::string_view name = "ema";

  struct In {
    View average, x, decay;
    static constexpr auto names = fields("average", "x", "decay");
    static constexpr auto shared = fields("decay");
  };
  struct Out { View average; static constexpr auto names = fields("average"); };

  Shapes infer(const In& in) const {
    CHECK(in.average.present() && in.average.packed(), "ema: average must be packed, got {}", to_string(in.average));
    expect_f32(in.average, in.average.sizes, "ema: average");
    expect_f32(in.x, in.average.sizes, "ema: x");
    CHECK(in.x.packed(), "ema: x must be packed, got {}", to_string(in.x));
    expect_f32(in.decay, {1}, "ema: decay");
    return {{DType::f32, in.average.sizes}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  void reference(const In&, const Out&, const Out& bound) const;
  Cost cost(const In& in) const { return traffic(3.0 * double(in.x.count()), in, infer(in)); }

  static std::vector<Case<Ema>> cases() {
    auto make = [](std::string_view what, Sizes sizes, double decay, int samples) {
      return Case<Ema>({}, {.name = format("{},decay={}", what, decay),
                            .in = {normal(sizes), normal(sizes), values({1}, {decay})},
                            .samples = samples});
    };
    std::vector<Case<Ema>> list = {make("N=5", {5}, 0.5, 1),          make("R=7,C=33", {7, 33}, 0.999, 7),
                                   make("N=5000", {5000}, 0.9999, 1), make("N=31", {31}, 1, 1),
                                   make("N=31", {31}, 0, 1),          make("empty", {0}, 0.9, 1)};
    list.push_back(Case<Ema>({}, {.name = "adversarial",
                                  .in = {adversarial({8, 40}), adversarial({8, 40}), values({1}, {0.99})},
                                  .samples = 8}));
    list.push_back(make("N=33554432", {int64_t{1} << 25}, 0.999, 1));
    list.back().bench = true;
    return list;
  }
};

}  // namespace dr
