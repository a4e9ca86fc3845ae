#pragma once
// One class of a divergence of P from Q: s and t are their softmaxes, P = mix(s) and Q = mix(t). Last include of a
// `_cpu.cpp` or `.cu`, as simd.h.

#include "kernels/categorical/unimix.h"
#include "kernels/core/math.h"

namespace dr::DR_ISA {

// log P - log Q: with a part of the uniform distribution; and of logits that are given relative to their maximum.
DR_INLINE f32v mixed_log_ratio(const Unimix& mix, f32v s, f32v t) { return log(mix(s)) - log(mix(t)); }
DR_INLINE f32v pure_log_ratio(f32v p, f32v log_den_p, f32v q, f32v log_den_q) {
  return (p - log_den_p) - (q - log_den_q);
}

// What dlogits of P and of Q are made of; mean is the sum of s log_ratio, flow_sum that of flow.
DR_INLINE f32v divergence_slope_p(const Unimix& mix, float g, f32v s, f32v log_ratio, f32v mean) {
  return s == 0.f ? f32v{} : mixed_logit_slope(splat(g * mix.own), s, log_ratio, mean);
}
DR_INLINE f32v divergence_flow(const Unimix& mix, f32v s, f32v t) {
  const f32v p = mix(s);
  return mix.uniform > 0 ? p * ((splat(mix.own) * t) / mix(t)) : p;
}
DR_INLINE f32v divergence_slope_q(float g, f32v t, f32v flow, f32v flow_sum) {
  return splat(g) * fma(t, flow_sum, -flow);
}

// The loss: a NaN is kept.
DR_INLINE float at_least_free_nats(float kl, float free_nats) { return kl <= free_nats ? free_nats : kl; }

}  // namespace dr::DR_ISA
