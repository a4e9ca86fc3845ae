#pragma once
// One explicit Euler step of the flow that turns noise into data.
//
//   y[b,i] = x[b,i] + dt v[b,i],   dt = tau[0] - tau[1]
//
//   x, v (B, ...) f32|bf16 each, packed but for axis 0, which may be strided    y like x, packed
//   tau (2) f32, shared: the noise level before and after the step. It is a slice of the schedule, tau_k, tau_{k+1}: an
//     unrolled rollout captured as one graph reads each pair from where it lies, needs no index, and a schedule that is
//     overwritten between rollouts takes effect. (v = x0 - eps points from noise to data, and tau falls, so dt > 0.)
// Order: dt is one subtraction; y = fma(dt, v, x).
// backward: dx = dy, dv = dt dy. No gradient to tau.
// Deterministic, independent of B. Throws if v has another shape than x.
// Source: arXiv:2504.19077, section 4; Liu et al. 2022, arXiv:2209.03003.

#include "kernels/core/op.h"

namespace dr {

struct EulerStep {
  static constexpr std::string_view name = "euler_step";

  struct In {
    View x, v, tau;
    static constexpr auto names = fields("x", "v", "tau");
    static constexpr auto shared = fields("tau");
  };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x, v; static constexpr auto names = fields("x", "v"); };

  Shapes infer(const In& in) const {
    CHECK(in.x.rank() >= 1, "euler_step: x must have samples along axis 0, got {}", to_string(in.x));
    expect_float(in.x, "euler_step: x");
    expect_float(in.v, "euler_step: v");
    expect_sizes(in.v, in.x.sizes, "euler_step: v");
    CHECK(in.x.packed(1) && in.v.packed(1), "euler_step: x and v must be packed but for axis 0");
    expect_f32(in.tau, {2}, "euler_step: tau");
    return {{in.x.dtype, in.x.sizes}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // dv: dt and the product round once each. dx is a copy.
  double gradient_k(const In&) const { return 2; }
  Cost cost(const In& in) const { return traffic(2.0 * double(in.x.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {  // dy is read, dx and dv are written: v itself is not needed
    return {double(in.x.count()), double(in.x.bytes() + in.tau.bytes()), double(in.x.bytes() + in.v.bytes())};
  }

  static std::vector<Case<EulerStep>> cases() {
    const Input tau = values({2}, {0.7333333, 0.6666667});
    auto make = [&](Sizes s, DType x, DType v, int samples, int64_t pad = 0, bool bench = false) {
      return Case<EulerStep>(
          {}, {.name = format("{},x={},v={}{}", to_string(s), name_of(x), name_of(v), pad ? ",strided" : ""),
               .in = {normal(s).as(x).padded(pad), normal(s, 0.2, 1.4).as(v).padded(pad), tau},
               .samples = samples,
               .bench = bench});
    };
    std::vector<Case<EulerStep>> list;
    for (DType x : {DType::f32, DType::bf16})
      for (DType v : {DType::f32, DType::bf16}) {
        list.push_back(make({5, 33}, x, v, 5));
        list.push_back(make({4, 31}, x, v, 4, 3));
      }
    list.push_back(make({2, 3, 7, 5}, DType::f32, DType::f32, 2));
    list.push_back(make({3, 9001}, DType::f32, DType::f32, 3));
    list.push_back(make({7, 1}, DType::f32, DType::f32, 7));
    list.push_back(make({0, 8}, DType::f32, DType::f32, 1));
    list.push_back(Case<EulerStep>(
        {}, {.name = "adversarial", .in = {adversarial({6, 40}), adversarial({6, 40}), tau}, .samples = 3}));
    list.push_back(make({64, 16384}, DType::f32, DType::f32, 1, 0, true));
    list.push_back(make({256, 262144}, DType::f32, DType::f32, 1, 0, true));
    list.push_back(make({256, 262144}, DType::bf16, DType::bf16, 1, 0, true));
    return list;
  }
};

}  // namespace dr
