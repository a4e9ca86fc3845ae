#pragma once
// Moving percentiles of a batch: the scale that returns are divided by.
//
//   low' = (1 - rate) low + rate P_low(x),   high' likewise,   scale = max(least, high' - low')
//
//   x f32 of any shape, packed    state (2) f32: low, high    state' like state (may be its memory)    scale (1) f32
// P_q interpolates between order statistics, as NumPy's default: position q (n - 1) in double, x sorted in the total
// order -0 < +0; v = lower + fraction * (upper - lower) with f32 operations, the fraction rounded to f32. An empty x
// leaves the state; a NaN in x gives NaN.
// Order: state' = fma(rate, P - state, state); scale from state'. Forward only.
// Source: Hafner et al. 2023, DreamerV3, arXiv:2301.04104, "Actor critic learning": P5, P95, rate 0.01, least 1.

#include "kernels/core/op.h"

namespace dr {

struct PercentileEma {
  static constexpr std::string_view name = "percentile_ema";
  double low = 0.05, high = 0.95;
  float rate = 0.01f, least = 1;

  struct In {
    View x, state;
    static constexpr auto names = fields("x", "state");
    static constexpr auto shared = fields("x", "state");
  };
  struct Out {
    View state, scale;
    static constexpr auto names = fields("state", "scale");
    static constexpr auto shared = fields("state", "scale");
  };

  Shapes infer(const In& in) const {
    CHECK(in.x.present() && in.x.packed(), "percentile_ema: x must be packed, got {}", to_string(in.x));
    expect_f32(in.x, in.x.sizes, "percentile_ema: x");
    expect_f32(in.state, {2}, "percentile_ema: state");
    CHECK(low >= 0 && low <= high && high <= 1, "percentile_ema: 0 <= low <= high <= 1 expected, got {} and {}", low,
          high);
    return {{DType::f32, {2}}, {DType::f32, {1}}};
  }
  size_t scratch_bytes(const In& in, int) const { return size_t(in.x.count()) * sizeof(uint32_t); }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  void reference(const In&, const Out&, const Out& bound) const;
  Cost cost(const In& in) const { return traffic(10.0 * double(in.x.count()), in, infer(in)); }

  static std::vector<Case<PercentileEma>> cases() {
    auto make = [](std::string_view what, Input x, PercentileEma op = {}) {
      return Case<PercentileEma>(op, {.name = std::string(what), .in = {std::move(x), values({2}, {-0.75, 2.5})}});
    };
    std::vector<Case<PercentileEma>> list = {
        make("N=1", normal({1})),
        make("N=2", normal({2})),
        make("N=33", normal({33}, 3, 5)),
        make("N=16x64", normal({16, 64}, 0, 4)),
        make("N=5000,quartiles", uniform({5000}, -9, 2), {.low = 0.25, .high = 0.75, .rate = 0.5f, .least = 0.5f}),
        make("N=31,extremes", normal({31}), {.low = 0, .high = 1, .rate = 1, .least = 1e-8f}),
        make("ties", values({40}, {1, 1, 1, -0.0, 0.0, 2, 2})),
        make("empty", normal({0})),
        make("adversarial", adversarial({400})),
        make("N=16384", normal({1024, 16}, 0, 3))};
    list.back().bench = true;
    return list;
  }
};

}  // namespace dr
