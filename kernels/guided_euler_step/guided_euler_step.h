#pragma once
// One Euler step with classifier-free guidance: the velocity of euler_step is extrapolated from the unconditional one
// through the conditional one.
//
//   y[b,i] = x[b,i] + dt v[b,i],   v = u + g (c - u),   dt = tau[0] - tau[1]
//
//   x, c, u (B, ...) f32|bf16, c and u alike, packed but for axis 0, which may be strided: the conditional and the
//     unconditional half of one batch are slices of it    y like x, packed
//   g (1) f32, tau (2) f32, both shared: the guidance strength; the noise level before and after the step
// Order: v = fma(g, c - u, u), kept in f32; dt is one subtraction; y = fma(dt, v, x). With f32 storage this equals
//   forming v and then calling euler_step, bit for bit. At g = 1, v may differ from c by a rounding; at g = 0, v = u.
// backward: h = dt dy; dx = dy, dc = g h, du = h - g h = fma(-g, h, h). No gradient to g and tau.
// Deterministic, independent of B. Throws if c or u has another shape than x.
// Source: Ho & Salimans 2022, arXiv:2207.12598, equation 6 with g = 1 + w.

#include "kernels/core/op.h"

namespace dr {

struct GuidedEulerStep {
  static constexpr std::string_view name = "guided_euler_step";

  struct In {
    View x, c, u, g, tau;
    static constexpr auto names = fields("x", "c", "u", "g", "tau");
    static constexpr auto shared = fields("g", "tau");
  };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x, c, u; static constexpr auto names = fields("x", "c", "u"); };

  Shapes infer(const In& in) const {
    CHECK(in.x.rank() >= 1, "guided_euler_step: x must have samples along axis 0, got {}", to_string(in.x));
    expect_float(in.x, "guided_euler_step: x");
    expect_float(in.c, "guided_euler_step: c");
    expect_sizes(in.c, in.x.sizes, "guided_euler_step: c");
    expect_sizes(in.u, in.x.sizes, "guided_euler_step: u");
    CHECK(in.u.dtype == in.c.dtype, "guided_euler_step: c and u must have one dtype, got {} and {}", to_string(in.c),
          to_string(in.u));
    CHECK(in.x.packed(1) && in.c.packed(1) && in.u.packed(1),
          "guided_euler_step: x, c and u must be packed but for axis 0");
    expect_f32(in.g, {1}, "guided_euler_step: g");
    expect_f32(in.tau, {2}, "guided_euler_step: tau");
    return {{in.x.dtype, in.x.sizes}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // du: dt, h and the fma round once each; h's error weighs 1 + |g| against |1 - g|, and the case's g is 2.
  double gradient_k(const In&) const { return 8; }
  Cost cost(const In& in) const { return traffic(5.0 * double(in.x.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {  // dy is read, three gradients are written: x, c and u are not needed
    return {4.0 * double(in.x.count()), double(in.x.bytes() + in.g.bytes() + in.tau.bytes()),
            double(in.x.bytes() + in.c.bytes() + in.u.bytes())};
  }

  static std::vector<Case<GuidedEulerStep>> cases() {
    const Input g = values({1}, {2}), tau = values({2}, {0.7333333, 0.6666667});
    auto make = [&](Sizes s, DType x, DType v, int samples, int64_t pad = 0, bool bench = false) {
      return Case<GuidedEulerStep>(
          {}, {.name = format("{},x={},v={}{}", to_string(s), name_of(x), name_of(v), pad ? ",strided" : ""),
               .in = {normal(s).as(x).padded(pad), normal(s, 0.2, 1.4).as(v).padded(pad),
                      normal(s, 0.1, 1.4).as(v).padded(pad), g, tau},
               .samples = samples,
               .bench = bench});
    };
    std::vector<Case<GuidedEulerStep>> list;
    for (DType x : {DType::f32, DType::bf16})
      for (DType v : {DType::f32, DType::bf16}) list.push_back(make({4, 33}, x, v, 4, x == v ? 3 : 0));
    list.push_back(make({2, 3, 7, 5}, DType::f32, DType::f32, 2));
    list.push_back(make({0, 8}, DType::f32, DType::f32, 1));
    list.push_back(
        Case<GuidedEulerStep>({}, {.name = "adversarial",
                                   .in = {adversarial({6, 40}), adversarial({6, 40}), adversarial({6, 40}), g, tau},
                                   .samples = 3}));
    list.push_back(make({64, 16384}, DType::f32, DType::f32, 1, 0, true));
    list.push_back(make({128, 262144}, DType::f32, DType::f32, 1, 0, true));
    return list;
  }
};

}  // namespace dr
