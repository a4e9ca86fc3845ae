#pragma once
// The straight path from data (level 0) to noise (level 1), and the gradients of its two ends: dx is that of the point,
// dv that of the velocity data - noise. Last include of a `_cpu.cpp` or `.cu`, as simd.h.

#include "kernels/core/simd.h"

namespace dr::DR_ISA {

struct FlowLevel {
  f32v tau, rest;
  explicit DR_INLINE FlowLevel(float level) : tau(splat(level)), rest(splat(1.f - level)) {}
  DR_INLINE f32v point(f32v data, f32v noise) const { return fma(tau, noise, rest * data); }
  DR_INLINE f32v data_gradient(f32v dx, f32v dv) const { return fma(rest, dx, dv); }
  DR_INLINE f32v noise_gradient(f32v dx, f32v dv) const { return fma(tau, dx, -dv); }
};

}  // namespace dr::DR_ISA
