#pragma once
// Exponential moving average of a tensor: of weights for sampling, of a critic as its own target.
//
//   average' = decay average + (1 - decay) x
//
//   average f32, x f32|bf16 of one shape, packed    decay (1) f32, which warms up: it changes between steps
//   average' like average; it may be its memory
// Order: average' = fma(decay, average, (1 - decay) * x), so that decay 1 keeps the average and decay 0 takes x exactly
//   (where both are finite).
// Forward only. Deterministic; each element stands alone, so shards and their sizes change nothing.
// Source: Polyak & Juditsky 1992; as used by Tarvainen & Valpola 2017, arXiv:1703.01780, equation 1.

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
    expect_float(in.x, "ema: x");
    expect_sizes(in.x, in.average.sizes, "ema: x");
    CHECK(in.x.packed(), "ema: x must be packed, got {}", to_string(in.x));
    expect_f32(in.decay, {1}, "ema: decay");
    return {{DType::f32, in.average.sizes}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  void reference(const In&, const Out&, const Out& bound) const;
  Cost cost(const In& in) const { return traffic(3.0 * double(in.x.count()), in, infer(in)); }

  static std::vector<Case<Ema>> cases() {
    auto make = [](Sizes s, double decay, DType t = DType::f32, bool bench = false) {
      return Case<Ema>({}, {.name = format("{},decay={}{}", to_string(s), decay, t == DType::f32 ? "" : ",bf16"),
                            .in = {normal(s), normal(s, 0.1).as(t), values({1}, {decay})},
                            .samples = s[0] && !bench ? int(s[0]) : 1,
                            .bench = bench});
    };
    return {
        make({1}, 0.5),
        make({5, 33}, 0.9999),
        make({3, 7, 31}, 0.98, DType::bf16),
        make({1, 20001}, 0.999),
        make({5}, 0),
        make({7}, 1),
        make({0}, 0.5),
        Case<Ema>({}, {.name = "adversarial", .in = {adversarial({400}), adversarial({400}), values({1}, {0.98})}}),
        make({int64_t{1} << 25}, 0.9999, DType::f32, true),
        make({int64_t{1} << 25}, 0.9999, DType::bf16, true),
    };
  }
};

}  // namespace dr
