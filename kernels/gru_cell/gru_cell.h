#pragma once
// The pointwise part of a gated recurrent unit, as DreamerV3 has it: the reset gate acts on the candidate behind its
// linear layer, and the update gate starts closed.
//
//   h'[r,g,i] = z tanh(sigmoid(reset) candidate) + (1 - z) h[r,g,i],   z = sigmoid(update - 1)
//   reset, candidate, update = gates[r,g,i], gates[r,g,H+i], gates[r,g,2H+i]
//
//   h (R,G,H) f32|bf16    gates (R,G,3H) like h: what a linear layer (G = 1) or BlockLinear gives    h' like h, packed
//   Last axes contiguous, the others with any strides.
// Order: elementwise; s = sigmoid(reset), c = tanh(s * candidate), z = sigmoid(update - 1),
//   h' = fma(z, c, (1 - z) * h), sigmoid as in core/sigmoid.h; rounded once to h'. Deterministic, independent of R.
// backward, with s, c and z computed again: dh = (1 - z) dh'; dz = (c - h) dh', dupdate = dz (z (1 - z));
//   da = (z dh') fma(-c, c, 1), dcandidate = da s, dreset = (da candidate) (s (1 - s)).
// Source: Hafner et al. 2023, DreamerV3, arXiv:2301.04104; Cho et al. 2014, arXiv:1406.1078.

#include "kernels/core/op.h"

namespace dr {

struct GruCell {
  static constexpr std::string_view name = "gru_cell";

  struct In { View h, gates; static constexpr auto names = fields("h", "gates"); };
  struct Out { View h; static constexpr auto names = fields("h"); };
  struct OutGrad { View h; static constexpr auto names = fields("h"); };
  struct Grad { View h, gates; static constexpr auto names = fields("h", "gates"); };

  // In the order of their error's growth: 1 - s, 1 - z and 1 - c^2 lose relative precision where they near 0. With
  // gates up to 3 in magnitude by the factors e^3 = 20 (of 4 u: the sigmoid and the difference) and cosh(2.86)^2 = 77
  // (of 2 u, and of the 4 u of c's argument).
  static constexpr double kGradient = 16 + 4 * 20 + 2 * 77 + 4 * 2.86;

  Shapes infer(const In& in) const {
    CHECK(in.h.rank() == 3 && in.gates.rank() == 3, "gru_cell: h must be (R,G,H) and gates (R,G,3H), got {} and {}",
          to_string(in.h), to_string(in.gates));
    expect_float(in.h, "gru_cell: h");
    expect_sizes(in.gates, {in.h.size(0), in.h.size(1), 3 * in.h.size(2)}, "gru_cell: gates");
    CHECK(in.gates.dtype == in.h.dtype, "gru_cell: h and gates must have one dtype, got {} and {}", to_string(in.h),
          to_string(in.gates));
    return {{in.h.dtype, in.h.sizes}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  double gradient_k(const In&) const { return kGradient; }
  Cost cost(const In& in) const { return traffic(12.0 * double(in.h.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const { return backward_traffic(24.0 * double(in.h.count()), in, infer(in)); }

  static std::vector<Case<GruCell>> cases() {
    auto make = [](int64_t r, int64_t g, int64_t h, int samples, DType t = DType::f32, int64_t pad = 0) {
      return Case<GruCell>(
          {}, {.name = format("R={},G={},H={}{}{}", r, g, h, t == DType::f32 ? "" : ",bf16", pad ? ",strided" : ""),
               .in = {uniform({r, g, h}, -1, 1).as(t).padded(pad), uniform({r, g, 3 * h}, -3, 3).as(t).padded(2 * pad)},
               .samples = samples});
    };
    std::vector<Case<GruCell>> list = {
        make(5, 2, 33, 5), make(3, 1, 31, 3, DType::bf16), make(4, 5, 7, 2, DType::f32, 3), make(7, 31, 1, 7),
        make(2, 3, 5, 2, DType::bf16, 1), make(0, 2, 4, 1),
        Case<GruCell>({}, {.name = "adversarial",
                           .in = {adversarial({4, 2, 40}), adversarial({4, 2, 120})},
                           .samples = 4,
                           .gradient = false}),  // saturated gates: central differences see nothing
        make(1024, 8, 512, 1), make(1024, 8, 512, 1, DType::bf16)};
    list.rbegin()[0].bench = list.rbegin()[1].bench = true;
    return list;
  }
};

}  // namespace dr
