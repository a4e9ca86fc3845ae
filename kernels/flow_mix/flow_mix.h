#pragma once
// A point on the straight path between data and noise, and the velocity the model is to learn there.
//
//   x_tau[r,i] = tau[r] eps[r,i] + (1 - tau[r]) x0[r,i]        v[r,i] = x0[r,i] - eps[r,i]
//
//   x0, eps (R, ...) f32|bf16 alike, packed but for axis 0, which may be strided    x_tau, v like x0, packed
//   tau (R) f32: the noise level of each row. A row is a sample, or a frame where frames are noised apart.
// Order: x_tau = fma(tau, eps, (1 - tau) x0), so tau = 0 gives x0 and tau = 1 gives eps exactly.
// backward: dx0 = fma(1 - tau, dx_tau, dv), deps = fma(tau, dx_tau, -dv), dtau[r] = canonical row sum of
//   dx_tau (eps - x0), by fma. An absent output gradient is zero.
// Deterministic, independent of R. Throws if eps has another shape or dtype than x0, or tau is not one per row.
// Source: arXiv:2504.19077, section 4; Liu et al. 2022, arXiv:2209.03003; Esser et al. 2024, arXiv:2403.03206.

#include "kernels/core/op.h"
#include "kernels/core/row_blocks.h"

namespace dr {

struct FlowMix {
  static constexpr std::string_view name = "flow_mix";

  struct In { View x0, eps, tau; static constexpr auto names = fields("x0", "eps", "tau"); };
  struct Out { View x_tau, v; static constexpr auto names = fields("x_tau", "v"); };
  struct OutGrad { View x_tau, v; static constexpr auto names = fields("x_tau", "v"); };
  struct Grad { View x0, eps, tau; static constexpr auto names = fields("x0", "eps", "tau"); };

  Shapes infer(const In& in) const {
    CHECK(in.x0.rank() >= 1, "flow_mix: x0 must have rows along axis 0, got {}", to_string(in.x0));
    expect_float(in.x0, "flow_mix: x0");
    expect_sizes(in.eps, in.x0.sizes, "flow_mix: eps");
    CHECK(in.eps.dtype == in.x0.dtype, "flow_mix: x0 and eps must have one dtype, got {} and {}", to_string(in.x0),
          to_string(in.eps));
    CHECK(in.x0.packed(1) && in.eps.packed(1), "flow_mix: x0 and eps must be packed but for axis 0");
    expect_f32(in.tau, {in.x0.size(0)}, "flow_mix: tau");
    return {{in.x0.dtype, in.x0.sizes}, {in.x0.dtype, in.x0.sizes}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  size_t device_scratch_bytes(const In& in) const { return RowBlocks(in.x0).scratch_bytes(); }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // dx0: 1 - tau and the fma. dtau: the difference, then one rounding per addition of a lane, the butterfly, the tree.
  double gradient_k(const In& in) const {
    const double row = in.x0.size(0) ? double(in.x0.count() / in.x0.size(0)) : 0;
    return 40 + (row < 4096 ? row / 32 : 128);
  }
  Cost cost(const In& in) const { return traffic(4.0 * double(in.x0.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const { return backward_traffic(7.0 * double(in.x0.count()), in, infer(in)); }

  static std::vector<Case<FlowMix>> cases() {
    auto make = [&](Sizes s, DType t, int samples, int64_t pad = 0, bool bench = false) {
      return Case<FlowMix>({}, {.name = format("{},{}{}", to_string(s), name_of(t), pad ? ",strided" : ""),
                                .in = {normal(s).as(t).padded(pad), normal(s).as(t).padded(pad), uniform({s[0]}, 0, 1)},
                                .samples = samples,
                                .bench = bench});
    };
    std::vector<Case<FlowMix>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make({5, 33}, t, 5));
      list.push_back(make({6, 31}, t, 3, 5));
      list.push_back(make({2, 3, 7, 5}, t, 2));
    }
    list.push_back(make({2, 9001}, DType::f32, 2));
    list.push_back(make({7, 1}, DType::f32, 7));
    list.push_back(make({0, 8}, DType::f32, 1));
    list.push_back(Case<FlowMix>({}, {.name = "ends",
                                      .in = {normal({4, 40}), normal({4, 40}), values({4}, {0, 1, 1e-7, 0.9999999})},
                                      .samples = 4}));
    list.push_back(Case<FlowMix>(
        {},
        {.name = "adversarial", .in = {adversarial({6, 40}), adversarial({6, 40}), uniform({6}, 0, 1)}, .samples = 3}));
    list.push_back(make({64, 16384}, DType::f32, 1, 0, true));
    list.push_back(make({128, 262144}, DType::f32, 1, 0, true));
    list.push_back(make({128, 262144}, DType::bf16, 1, 0, true));
    return list;
  }
};

}  // namespace dr
