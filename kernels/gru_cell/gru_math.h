#pragma once
// The cell of a gated recurrent unit for W lanes of f32: the formulas of GruCell and BlockGru, on the CPU and on
// devices. Last include but for those that say the same, as simd.h.

#include "kernels/core/sigmoid.h"

namespace dr::DR_ISA {

struct GruGates {
  f32v s, c, z;  // the reset gate, the candidate state, the update gate
  DR_INLINE GruGates(f32v reset, f32v candidate, f32v update)
      : s(sigmoid(reset)), c(tanh(s * candidate)), z(sigmoid(update - 1.f)) {}

  DR_INLINE f32v next(f32v h) const { return fma(z, c, (splat(1.f) - z) * h); }
};

// Gradients with respect to the state and what the gates are computed from.
struct GruGradients {
  f32v h, reset, candidate, update;
  DR_INLINE GruGradients(const GruGates& g, f32v candidate_in, f32v state, f32v dy) {
    const f32v one = splat(1.f);
    h = (one - g.z) * dy;
    const f32v dz = (g.c - state) * dy, da = (g.z * dy) * fma(-g.c, g.c, one);
    reset = (da * candidate_in) * (g.s * (one - g.s));
    candidate = da * g.s;
    update = dz * (g.z * (one - g.z));
  }
};

}  // namespace dr::DR_ISA
