#pragma once
// The norm of all gradients and the scale that clips it: the second half of gradient clipping (GradNorm is the first).
//
//   norm = factor * sqrt(sum_b sums[b]),   scale = factor * min(1, max_norm / (norm + 1e-6))
//
//   sums (B) f32: the blocks of every parameter, in the order of the parameters
//   max_norm (1) f32, > 0, may be infinite
//   factor (1) f32 or absent (1): the gradients' own scale, 1 / global count where they are sums over the batch
//   norm, scale (1) f32; AdamW multiplies gradients by scale
// Order: sums are added by the binary tree over blocks; sqrt, products and division round once each.
// A norm that is infinite or NaN gives scale 0, for which AdamW leaves its state as it is: the step is skipped on the
// device, without asking the host, and norm tells the log. B == 0: norm 0. A NaN in max_norm or factor reaches scale.
// Forward only. Deterministic.
// Source: Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063, algorithm 1.

#include "kernels/core/op.h"

namespace dr {

struct ClipScale {
  static constexpr std::string_view name = "clip_scale";
  static constexpr float kTiny = 1e-6f;

  struct In {
    View sums, max_norm, factor;
    static constexpr auto names = fields("sums", "max_norm", "factor");
    static constexpr auto shared = fields("max_norm", "factor");
  };
  struct Out {
    View norm, scale;
    static constexpr auto names = fields("norm", "scale");
    static constexpr auto shared = fields("norm", "scale");
  };

  Shapes infer(const In& in) const {
    CHECK(in.sums.rank() == 1, "clip_scale: sums must be (B), got {}", to_string(in.sums));
    expect_f32(in.sums, in.sums.sizes, "clip_scale: sums");
    expect_f32(in.max_norm, {1}, "clip_scale: max_norm");
    if (in.factor) expect_f32(in.factor, {1}, "clip_scale: factor");
    return {{DType::f32, {1}}, {DType::f32, {1}}};
  }
  // The tree's levels.
  size_t scratch_bytes(const In& in, int) const { return size_t(in.sums.count()) * sizeof(float); }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  void reference(const In&, const Out&, const Out& bound) const;
  Cost cost(const In& in) const { return traffic(double(in.sums.count()) + 6, in, infer(in)); }

  static std::vector<Case<ClipScale>> cases() {
    auto make = [](std::string_view name, Input sums, double max_norm, Input factor = absent()) {
      return Case<ClipScale>(
          {}, {.name = std::string(name), .in = {std::move(sums), values({1}, {max_norm}), std::move(factor)}});
    };
    std::vector<Case<ClipScale>> list = {
        make("B=1,clipped", uniform({1}, 4, 5), 1),
        make("B=5,not clipped", uniform({5}, 0, 0.1), 1),
        make("B=33,factor", uniform({33}, 0, 1e6), 0.5, values({1}, {1.0 / 48})),
        make("B=1000,at the kink", values({1000}, {0.001}), 1),
        make("B=7,zero", values({7}, {0}), 1),
        make("B=31,wide", values({31}, {1e-12, 1e12, 3, 1e-30, 7e5}), 1),
        make("B=9001", uniform({9001}, 0, 1), 1),
        make("B=0", uniform({0}, 0, 1), 1),
        make("bench B=32768", uniform({32768}, 0, 1), 1)};
    list.back().bench = true;
    return list;
  }
};

}  // namespace dr
