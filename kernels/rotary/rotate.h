#pragma once
// One rotation, for rotary and for the ops with more fused before it. Last include of a `_cpu.cpp`, as simd.h.

#include "kernels/core/simd.h"

namespace dr::DR_ISA {

struct Pair {
  f32v first, second;
};
// Backward is the same with -s: negation rounds nothing.
DR_INLINE Pair rotate(Pair x, f32v c, f32v s) {
  return {fma(x.first, c, -(x.second * s)), fma(x.second, c, x.first * s)};
}

// The row of (batch, token) in a table (B,L,D/2), and of (batch, token, head) in a tensor (B,L,H,D).
template <class T>
DR_INLINE T* token_row(const View& v, int64_t batch, int64_t token) {
  return static_cast<T*>(v.data) + batch * v.stride(0) + token * v.stride(1);
}
template <class T>
DR_INLINE T* head_row(const View& v, int64_t batch, int64_t token, int64_t head) {
  return token_row<T>(v, batch, token) + head * v.stride(2);
}

}  // namespace dr::DR_ISA
