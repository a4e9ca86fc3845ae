#pragma once
// The scale of returns, for advantages: a moving range between two percentiles of a step's values.
//
//   percentile(p) = v[i] + f (v[i+1] - v[i]),   i + f = p (N - 1) / 100,   v the values in ascending order
//   state' = (1 - rate) state + rate (percentile(low), percentile(high))
//   scale = max(limit, state'[1] - state'[0])
//
//   values (..) f32, N > 0 of them, packed: all of the step's, from every rank
//   state (2) f32: low and high, zeros at the start    state' like state; it may be its memory
//   percentiles (2), scale (1) f32    all but values are shared by the samples
// Order: v by total order (-0 < +0). f is rounded once to f32; f = 0 or v[i] = v[i+1] (infinities too) gives v[i], else
//   fma(f, v[i+1] - v[i], v[i]).
//   state' = fma(1 - rate, state, rate * percentile), the product rounded once; the difference in scale rounds once.
// A NaN among the values makes both percentiles NaN. Where a percentile is NaN or infinite, state' keeps the bits of
// state, as AdamW keeps its own at a step that is skipped.
// Forward only. Deterministic.
// Source: Hafner et al. 2023, DreamerV3, arXiv:2301.04104, equation 11; Hyndman & Fan 1996, quantile definition 7.

#include "kernels/core/op.h"

namespace dr {

struct PercentileEma {
  static constexpr std::string_view name = "percentile_ema";
  float low = 5, high = 95;  // per cent
  float rate = 0.01f, limit = 1;

  struct In {
    View values, state;
    static constexpr auto names = fields("values", "state");
    static constexpr auto shared = fields("state");
  };
  struct Out {
    View state, percentiles, scale;
    static constexpr auto names = fields("state", "percentiles", "scale"), shared = names;
  };

  Shapes infer(const In& in) const {
    CHECK(low >= 0 && low <= high && high <= 100 && rate >= 0 && rate <= 1,
          "percentile_ema: 0 <= low <= high <= 100 and 0 <= rate <= 1 expected, got low={}, high={}, rate={}", low,
          high, rate);
    expect_f32(in.values, in.values.sizes, "percentile_ema: values");
    CHECK(in.values.count() > 0 && in.values.packed(), "percentile_ema: values must be packed and not empty, got {}",
          to_string(in.values));
    expect_f32(in.state, {2}, "percentile_ema: state");
    return {{DType::f32, {2}}, {DType::f32, {2}}, {DType::f32, {1}}};
  }
  size_t scratch_bytes(const In& in, int) const { return size_t(in.values.count()) * sizeof(int32_t); }  // keys
  // What passes over the values count, for both percentiles.
  struct Selection {
    static constexpr int kPasses = 4, kBins = 256;  // a pass a byte of the keys, the highest first
    struct Chosen {
      uint32_t prefix, rank;  // the bytes found so far; of the value, among those that have them
    };
    uint32_t counts[kPasses][2][kBins];
    Chosen chosen[kPasses][2];  // before each pass
    uint32_t next[2];           // the least key above the chosen one
    uint32_t nan;
  };
  size_t device_scratch_bytes(const In&) const { return sizeof(Selection); }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  void reference(const In&, const Out&, const Out& bound) const;
  Cost cost(const In& in) const { return traffic(2.0 * double(in.values.count()), in, infer(in)); }

  static std::vector<Case<PercentileEma>> cases() {
    auto make = [](std::string_view name, PercentileEma op, Input v, double low = -0.5, double high = 2) {
      return Case<PercentileEma>(op, {.name = std::string(name), .in = {std::move(v), values({2}, {low, high})}});
    };
    std::vector<Case<PercentileEma>> list = {
        make("N=1", {}, normal({1})),
        make("N=5", {}, normal({5}, 1, 30)),
        make("N=7x31", {}, normal({7, 31}, 100, 50)),
        make("N=21,whole positions", {}, normal({21}, 0, 9)),
        make("N=33,first state", {}, normal({33}, 0, 9), 0, 0),
        make("N=33,limit", {}, normal({33}, 0, 0.1), 0, 0.5),
        make("N=1000,ties", {}, values({1000}, {1, 1, 1, 2, -3, 0, -0.0}), -3, 2),
        make("N=400,quartiles", {.low = 25, .high = 75, .rate = 0.5f}, normal({400})),
        make("N=100,ends", {.low = 0, .high = 100, .rate = 1}, normal({100}, 0, 4)),
        make("N=9999,adversarial", {.rate = 0.3f}, adversarial({9999})),
        make("N=15x1024", {}, normal({15, 1024}, 3, 2)),
    };
    list.back().bench = true;
    return list;
  }
};

}  // namespace dr
