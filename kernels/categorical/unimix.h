#pragma once
// Probabilities of a categorical distribution with a part of the uniform one mixed in. Last include of a `_cpu.cpp` or
// `.cu`, as simd.h.

#include "kernels/core/simd.h"

namespace dr::DR_ISA {

struct Unimix {
  float own, uniform;  // weights of the softmax and of each class
  Unimix(float unimix, int64_t classes) : own(1.f - unimix), uniform(unimix / float(classes)) {}
  DR_INLINE f32v operator()(f32v s) const { return fma(splat(own), s, splat(uniform)); }
};

// The gradient of a logit of softmax s from that of its probability, whose mean under s is `mean`.
DR_INLINE f32v mixed_logit_slope(f32v own, f32v s, f32v d, f32v mean) { return (own * s) * (d - mean); }

}  // namespace dr::DR_ISA
