#pragma once
// symlog, symexp and their derivatives. Last include of a `_cpu.cpp` or `.cu`, as simd.h.

#include "kernels/symlog/symlog.h"

#include "kernels/core/math.h"

namespace dr::DR_ISA {

DR_INLINE f32v symlog_value(SymLogKind kind, f32v x) {
  const f32v a = abs(x);
  return math::or_bits(kind == SymLogKind::symlog ? log1p(a) : expm1(a), math::sign_of(x));
}
DR_INLINE f32v symlog_gradient(SymLogKind kind, f32v x, f32v dy) {
  const f32v a = abs(x);
  return kind == SymLogKind::symlog ? dy / (splat(1.f) + a) : dy * exp(a);
}

}  // namespace dr::DR_ISA
