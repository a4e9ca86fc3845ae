#pragma once
// From a uniform number in [0,1) or a standard normal to an element of each distribution.
// Last include of a `_cpu.cpp` or `.cu`, as simd.h.

#include "kernels/philox_fill/philox_fill.h"

#include "kernels/core/math.h"

namespace dr::DR_ISA {

constexpr bool takes_normals(Distribution d) { return d == Distribution::normal || d == Distribution::logit_normal; }

template <Distribution D>
DR_INLINE f32v random_element(f32v number, float a, float b) {
  const f32v one = splat(1.f);
  if constexpr (D == Distribution::uniform) return fma(splat(b - a), number, splat(a));
  else if constexpr (D == Distribution::bernoulli) return number < splat(a) ? one : f32v{};
  else {
    const f32v t = fma(splat(b), number, splat(a));
    if constexpr (D == Distribution::normal) return t;
    const f32v e = exp(-abs(t));
    return (t < f32v{} ? e : one) / (one + e);
  }
}

// f.operator()<D>() for a distribution of floating numbers. Host code.
template <class F>
void with_distribution(Distribution d, F&& f) {
  switch (d) {
    case Distribution::bits: return;  // has its own element type
    case Distribution::uniform: return f.template operator()<Distribution::uniform>();
    case Distribution::normal: return f.template operator()<Distribution::normal>();
    case Distribution::logit_normal: return f.template operator()<Distribution::logit_normal>();
    case Distribution::bernoulli: return f.template operator()<Distribution::bernoulli>();
  }
}

}  // namespace dr::DR_ISA
