#pragma once
// Lambda returns: the target of a critic, from rewards and the critic's own values along a trajectory.
//
//   R[b,t] = reward[b,t] + discount[b,t] ((1 - lambda) value[b,t+1] + lambda R[b,t+1]),   t = T-1, ..., 0
//   value[b,T] = R[b,T] = bootstrap[b]
//
//   reward, discount, value (B,T) f32, rows may be strided: trajectory b's steps along a row    bootstrap (B) f32
//   returns (B,T) f32, packed
//   reward[b,t] and discount[b,t] belong to the transition from t to t + 1; discount is the probability to continue
//   times the discount factor. value[b,0] has no effect.
// Order: mix = fma(lambda, R[t+1], (1 - lambda) * value[t+1]), the last mix is bootstrap itself; R[t] = fma(discount,
//   mix, reward). So lambda 0 gives one-step targets and lambda 1 discounted sums, exactly.
// backward: g[t] = dR[t] + lambda a[t-1] by fma, a[t] = g[t] discount[t], in ascending t; dreward = g, ddiscount[t] =
//   g[t] mix[t], dvalue[t+1] = (1 - lambda) a[t], dbootstrap = a[T-1], dvalue[0] = +0.
// Deterministic, independent of B. Throws if T is 0 or the shapes differ.
// Source: Sutton & Barto 2018, section 12.1; as in Hafner et al. 2023, DreamerV3, arXiv:2301.04104, equation 7.

#include "kernels/core/op.h"

namespace dr {

struct LambdaReturns {
  static constexpr std::string_view name = "lambda_returns";
  float lambda = 0.95f;

  struct In {
    View reward, discount, value, bootstrap;
    static constexpr auto names = fields("reward", "discount", "value", "bootstrap");
  };
  struct Out { View returns; static constexpr auto names = fields("returns"), saved = names; };
  struct OutGrad { View returns; static constexpr auto names = fields("returns"); };
  struct Grad {
    View reward, discount, value, bootstrap;
    static constexpr auto names = In::names;
  };

  Shapes infer(const In& in) const {
    CHECK(lambda >= 0 && lambda <= 1, "lambda_returns: lambda must be from 0 to 1, got {}", lambda);
    CHECK(in.reward.rank() == 2 && in.reward.size(1) > 0, "lambda_returns: reward must be (B,T) with T > 0, got {}",
          to_string(in.reward));
    expect_f32(in.reward, in.reward.sizes, "lambda_returns: reward");
    expect_f32(in.discount, in.reward.sizes, "lambda_returns: discount");
    expect_f32(in.value, in.reward.sizes, "lambda_returns: value");
    expect_f32(in.bootstrap, {in.reward.size(0)}, "lambda_returns: bootstrap");
    return {{DType::f32, in.reward.sizes}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // Along T a gradient goes through three roundings a step (a, the fma, lambda's product within it), and a return,
  // which the discount's gradient contains, through as many.
  double gradient_k(const In& in) const { return 6 + 6 * double(in.reward.size(1)); }
  Cost cost(const In& in) const { return traffic(5.0 * double(in.reward.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const { return backward_traffic(8.0 * double(in.reward.count()), in, infer(in)); }

  static std::vector<Case<LambdaReturns>> cases() {
    auto make = [](int64_t b, int64_t t, float lambda, int64_t pad = 0, bool bench = false) {
      const Sizes s{b, t};
      return Case<LambdaReturns>({lambda}, {.name = format("B={},T={},lambda={}{}", b, t, lambda,
                                                           pad ? ",strided" : ""),
                                            .in = {normal(s, 0.1).padded(pad), uniform(s, 0.2, 1).padded(2 * pad),
                                                   normal(s, 1, 2).padded(pad), normal({b}, 1, 2)},
                                            .samples = b && !bench ? int(b) : 1,
                                            .bench = bench});
    };
    std::vector<Case<LambdaReturns>> list = {
        make(5, 15, 0.95f), make(3, 7, 0.5f, 3), make(2, 33, 0.95f), make(7, 31, 0.9f),
        make(33, 2, 0.95f), make(5, 5, 1),       make(4, 6, 0),      make(0, 5, 0.95f),
    };
    list[5].gradient = false;  // lambda 1 leaves every value out
    list.push_back(make(5, 1, 0.95f));
    list.back().gradient = false;  // the only value has no effect
    list.push_back(Case<LambdaReturns>({}, {.name = "episodes end",
                                            .in = {normal({4, 20}),
                                                   values({4, 20}, {1, 0.997, 1, 0, 0.997, 0.997, 0.5}),
                                                   normal({4, 20}), normal({4})},
                                            .samples = 4}));
    list.push_back(Case<LambdaReturns>({}, {.name = "adversarial",
                                            .in = {adversarial({6, 12}), uniform({6, 12}, 0, 1), adversarial({6, 12}),
                                                   adversarial({6})},
                                            .samples = 6}));
    list.push_back(make(1024, 15, 0.95f, 0, true));
    return list;
  }
};

}  // namespace dr
