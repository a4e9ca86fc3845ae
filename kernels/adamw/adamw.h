#pragma once
// AdamW: Adam with decoupled weight decay, for one tensor of parameters.
//
//   g = grad * grad_scale
//   m' = beta1 m + (1 - beta1) g,   v' = beta2 v + (1 - beta2) g^2
//   param' = param - lr (mhat / (sqrt(vhat) + eps) + weight_decay * param)
//   mhat = m' / correction[0],   vhat = v' / correction[1]
//
//   param, grad, m, v f32 of one shape, packed    param', m', v' like param: each may be the memory of its input
//   lr, grad_scale (1) f32    correction (2) f32: 1 - beta1^t and 1 - beta2^t at step t = 1, 2, ..., see correction()
// Order, every line one rounding per operation (fma is one):
//   alpha = lr / correction[0], decay = lr * weight_decay, root = 1 / sqrt(correction[1])      once per call
//   g = grad * grad_scale
//   m' = fma(beta1, m, (1 - beta1) * g)
//   v' = fma(beta2, v, (1 - beta2) * (g * g))
//   param' = param - fma(decay, param, alpha * (m' / fma(sqrt(v'), root, eps)))
// The step is summed before it meets the parameter, so the parameter is rounded once.
// grad_scale == 0 skips the step: param, m and v keep their bits, whatever grad holds (ClipScale gives 0 where the norm
// is not finite). Forward only. Deterministic; each element stands alone, so shards and their sizes change nothing.
// Source: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2 (with the schedule multiplier inside lr).

#include "kernels/core/op.h"

namespace dr {

struct AdamW {
  static constexpr std::string_view name = "adamw";
  float beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f, weight_decay = 0.f;

  struct In {
    View param, grad, m, v, lr, correction, grad_scale;
    static constexpr auto names = fields("param", "grad", "m", "v", "lr", "correction", "grad_scale");
    static constexpr auto shared = fields("lr", "correction", "grad_scale");
  };
  struct Out { View param, m, v; static constexpr auto names = fields("param", "m", "v"); };

  // What the caller puts into `correction` at step t >= 1. Powers by squaring in double, no libm: the same bits on any
  // host.
  std::array<float, 2> correction(int64_t t) const {
    CHECK(t >= 1, "adamw: steps count from 1, got {}", t);
    auto one_minus_power = [t](double beta) {
      double power = 1;
      for (int64_t bits = t; bits; bits >>= 1, beta *= beta)
        if (bits & 1) power *= beta;
      return float(1 - power);
    };
    return {one_minus_power(double(beta1)), one_minus_power(double(beta2))};
  }

  Shapes infer(const In& in) const {
    CHECK(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1 && eps > 0 && weight_decay >= 0,
          "adamw: 0 <= beta < 1, eps > 0, weight_decay >= 0 expected, got beta1={}, beta2={}, eps={}, weight_decay={}",
          beta1, beta2, eps, weight_decay);
    CHECK(in.param.present() && in.param.packed(), "adamw: param must be packed, got {}", to_string(in.param));
    expect_f32(in.param, in.param.sizes, "adamw: param");
    for (auto [view, what] : {std::pair{&in.grad, "adamw: grad"}, {&in.m, "adamw: m"}, {&in.v, "adamw: v"}}) {
      expect_f32(*view, in.param.sizes, what);
      CHECK(view->packed(), "{} must be packed, got {}", what, to_string(*view));
    }
    expect_f32(in.lr, {1}, "adamw: lr");
    expect_f32(in.correction, {2}, "adamw: correction");
    expect_f32(in.grad_scale, {1}, "adamw: grad_scale");
    const TensorSpec like{DType::f32, in.param.sizes};
    return {like, like, like};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  void reference(const In&, const Out&, const Out& bound) const;
  Cost cost(const In& in) const { return traffic(14.0 * double(in.param.count()), in, infer(in)); }

  static std::vector<Case<AdamW>> cases() {
    auto make = [](std::string_view name, AdamW op, Sizes sizes, int64_t t, double scale, int samples = 1) {
      const auto c = op.correction(t);
      return Case<AdamW>(op,
                         {.name = std::string(name),
                          .in = {normal(sizes), normal(sizes, 0, 0.1), normal(sizes, 0, 0.05), uniform(sizes, 0, 0.02),
                                 values({1}, {3e-4}), values({2}, {c[0], c[1]}), values({1}, {scale})},
                          .samples = samples});
    };
    const AdamW decay{.beta2 = 0.95f, .weight_decay = 0.1f};
    std::vector<Case<AdamW>> list = {
        make("N=1,step 1", {}, {1}, 1, 1),
        make("N=33,clipped", decay, {33}, 7, 0.37),
        make("N=8x31,step 100000", decay, {8, 31}, 100000, 1.0 / 64, 8),
        make("N=5000", {}, {5000}, 1000, 1),
        make("N=40,skipped", decay, {40}, 3, 0),
        make("empty", {}, {0}, 1, 1)};
    Case<AdamW> zero = make("N=31,zero state", {}, {31}, 1, 1);
    zero.in[2] = zero.in[3] = values({31}, {0});
    zero.in[1] = values({31}, {0, 1, -1e-3, 1e-12, -1e-25});
    list.push_back(zero);
    Case<AdamW> wild = make("adversarial", decay, {400}, 5, 1);
    wild.in[0] = wild.in[1] = wild.in[2] = adversarial({400});
    wild.in[3] = values({400}, {0, 1e-20, 1e-8, 1, 1e10});
    list.push_back(wild);
    Case<AdamW> big = make("bench N=33554432", decay, {int64_t{1} << 25}, 10, 0.5);
    big.bench = true;
    list.push_back(big);
    return list;
  }
};

}  // namespace dr
