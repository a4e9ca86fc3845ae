#pragma once
// Lambda returns of imagined or recorded trajectories.
//
//   R[b,t] = reward[b,t] + discount[b,t] ((1 - lambda) value[b,t+1] + lambda R[b,t+1]),   R[b,T] = value[b,T]
//
//   reward, discount (B,T) f32    value (B,T+1) f32, its last column the bootstrap    returns (B,T) f32
//   discount is gamma times the probability that the episode goes on. All packed.
// Order, t from T-1 down: m = fma(lambda, R[t+1], (1 - lambda) * value[t+1]); R[t] = fma(discount[t], m, reward[t]).
// backward, t from 0 up: G[t] = fma(lambda * discount[t-1], G[t-1], dR[t]), G[0] = dR[0]; dreward = G; ddiscount[t] =
// G[t] * m
//   (R from the saved returns); dvalue[t+1] = (1 - lambda) * (discount[t] * G[t]), and the last one is fma(lambda, w,
//   that)
//   with w = discount[t] * G[t]; dvalue[0] = 0.
// Source: Sutton & Barto 2018, "Reinforcement learning", section 12.1; as in Hafner et al. 2023, arXiv:2301.04104.

#include "kernels/core/op.h"

namespace dr {

struct LambdaReturns {
  static constexpr std::string_view name = "lambda_returns";
  float lambda = 0.95f;

  struct In { View reward, discount, value; static constexpr auto names = fields("reward", "discount", "value"); };
  struct Out { View returns; static constexpr auto names = fields("returns"); };
  struct OutGrad { View returns; static constexpr auto names = fields("returns"); };
  struct Grad { View reward, discount, value; static constexpr auto names = fields("reward", "discount", "value"); };

  Shapes infer(const In& in) const {
    CHECK(in.reward.rank() == 2, "lambda_returns: reward must be (B,T), got {}", to_string(in.reward));
    const int64_t b = in.reward.size(0), t = in.reward.size(1);
    expect_f32(in.reward, {b, t}, "lambda_returns: reward");
    expect_f32(in.discount, {b, t}, "lambda_returns: discount");
    expect_f32(in.value, {b, t + 1}, "lambda_returns: value");
    CHECK(in.reward.packed() && in.discount.packed() && in.value.packed(), "lambda_returns: inputs must be packed");
    CHECK(lambda >= 0 && lambda <= 1, "lambda_returns: lambda must be 0 to 1, got {}", lambda);
    return {{DType::f32, {b, t}}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // Three roundings a step, along T steps, for G and for R, which multiply.
  double gradient_k(const In& in) const { return 8 + 6.0 * double(in.reward.size(1)); }
  Cost cost(const In& in) const { return traffic(5.0 * double(in.reward.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const { return backward_traffic(10.0 * double(in.reward.count()), in, infer(in)); }

  static std::vector<Case<LambdaReturns>> cases() {
    auto make = [](int64_t b, int64_t t, float lambda) {
      return Case<LambdaReturns>({.lambda = lambda},
                                 {.name = format("B={},T={},lambda={}", b, t, lambda),
                                  .in = {normal({b, t}), uniform({b, t}, 0.5, 1), normal({b, t + 1})},
                                  .samples = int(std::max<int64_t>(b, 1))});
    };
    std::vector<Case<LambdaReturns>> list = {make(5, 15, 0.95f), make(1, 1, 0.95f), make(3, 33, 0.5f),
                                             make(7, 5, 0),      make(2, 31, 1),    make(0, 5, 0.95f)};
    list.push_back(make(16384, 15, 0.95f));
    list.back().bench = true, list.back().samples = 1;
    return list;
  }
};

}  // namespace dr
