#pragma once
// One step of AdamW. Last include of a `_cpu.cpp`, as simd.h.

#include "kernels/core/simd.h"

namespace dr::DR_ISA {

// What all elements of a call share.
struct AdamWStep {
  f32v alpha, decay, root, beta1, beta2, rest1, rest2, eps, scale;

  DR_INLINE AdamWStep(const AdamW& op, float lr, const float* correction, float grad_scale)
      : alpha(splat(lr / correction[0])), decay(splat(lr * op.weight_decay)), root(splat(1.f / sqrt(correction[1]))),
        beta1(splat(op.beta1)), beta2(splat(op.beta2)), rest1(splat(1.f - op.beta1)), rest2(splat(1.f - op.beta2)),
        eps(splat(op.eps)), scale(splat(grad_scale)) {}

  DR_INLINE void operator()(f32v& param, f32v grad, f32v& m, f32v& v) const {
    const f32v g = grad * scale;
    m = fma(beta1, m, rest1 * g);
    v = fma(beta2, v, rest2 * (g * g));
    param = param - fma(decay, param, alpha * (m / fma(sqrt(v), root, eps)));
  }
};

}  // namespace dr::DR_ISA
