#pragma once
// The plan head: from a frame's tokens, K guesses of the trajectory that follows, with a weight each.
//
//   f = mean over the frame's S tokens        f = f + down(gelu_tanh(up(layernorm(f)))), four times
//   linear maps of f: K means (M), K log-scales (M), K logits,   M = 33 x 15
//
// A plan is 33 points at t_i = 10 (i/32)^2 s, each position, velocity, acceleration, Euler angles seen from the current
// pose, and angular rates (m, m/s, m/s^2, rad, rad/s), divided by plan_scale().
// Parameters, beneath its name: blocks.N.norm.{weight,bias}, blocks.N.{up,down}.{weight,bias},
// {mean,log_scale,logits}.{weight,bias}.
// Source: Goff et al. 2025, arXiv:2504.19077, section 4.

#include "runtime/parameters.h"

namespace dr {

inline constexpr int64_t kPlanPoints = 33, kPlanNumbers = 15, kPlanSize = kPlanPoints * kPlanNumbers;

double plan_time_s(int64_t point);  // 10 (point/32)^2
// What a plan's numbers are divided by: their order of magnitude. (kPlanSize)
const std::vector<float>& plan_scale();

struct Plans {
  Tensor mean, log_scale;  // (R,K,M), in units of plan_scale()
  Tensor logits;           // (R,K)
};

class PlanHead {
 public:
  PlanHead(Parameters& parameters, const std::string& name, int64_t channels, int64_t hypotheses);
  // tokens (R,S,C) of R frames
  Plans apply(Tape& tape, const Tensor& tokens) const;

 private:
  struct Layer { Tensor weight, bias; };
  struct Residual { Layer norm, up, down; };

  int64_t channels_, hypotheses_;
  std::vector<Residual> blocks_;
  Layer mean_, log_scale_, logits_;
};

}  // namespace dr
