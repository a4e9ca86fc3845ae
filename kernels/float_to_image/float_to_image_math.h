#pragma once
// Last include of a `_cpu.cpp`, as simd.h.

#include "kernels/core/simd.h"

namespace dr::DR_ISA {

DR_INLINE u32v float_to_image(f32v x) {
  f32v v = fma(x, splat(127.5f), splat(127.5f));
  v = v > 0.f ? v : f32v{};
  v = v < 255.f ? v : splat(255.f);
  // From 2^23 on the floats are the integers, so this sum rounds to one, in its low bits.
  return bits<u32v>(v + splat(0x1p23f)) & 0xffu;
}

}  // namespace dr::DR_ISA
