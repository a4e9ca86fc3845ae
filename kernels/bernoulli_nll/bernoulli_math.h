#pragma once
// The negative log-likelihood of a Bernoulli variable, and its slope, of logit and target.
// Last include of a `_cpu.cpp` or `.cu`, as simd.h.

#include "kernels/core/sigmoid.h"

namespace dr::DR_ISA {

struct BernoulliValue {
  DR_INLINE f32v operator()(f32v x, f32v t) const {
    return fma(-t, x, x > 0.f ? x : f32v{}) + log1p(exp(-abs(x)));
  }
};
struct BernoulliSlope {
  DR_INLINE f32v operator()(f32v x, f32v t) const { return sigmoid(x) - t; }
};

}  // namespace dr::DR_ISA
