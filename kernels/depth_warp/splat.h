#pragma once
// Where pixels land in the new view, and which of those that land together wins: what CPU and devices share.
// kernels/depth_warp/depth_warp.h states it. Last include of a `_cpu.cpp`, as simd.h.

#include "kernels/project_depth/projection.h"

namespace dr::DR_ISA {

// The pixel of a view of that size on which a point lies; (0, 0) where it lies on none.
struct Landing {
  maskv lands;
  i32v i, j;  // column and row

  DR_INLINE Landing(const Projected& at, f32v width, f32v height) {
    const f32v half = splat(0.5f), zero{}, x = at.x + half, y = at.y + half;
    lands = at.valid & (x >= zero) & (x < width) & (y >= zero) & (y < height);
    i = floor_of(pick(lands, x, zero)).integer, j = floor_of(pick(lands, y, zero)).integer;
  }
};

// z's bits, then the source's row and column: as an integer, the smaller one wins.
struct Splat {
  static constexpr uint64_t kNothing = ~uint64_t{0};

  DR_INLINE static uint64_t pack(uint32_t z_bits, int64_t v, int64_t u) {
    return uint64_t(z_bits) << 32 | uint64_t(v << 16 | u);
  }
  uint64_t best;
  DR_INLINE bool hit() const { return best != kNothing; }
  DR_INLINE float z() const { return hit() ? bits<float>(uint32_t(best >> 32)) : 0.f; }
  DR_INLINE int64_t v() const { return int64_t(best >> 16 & 0xffff); }
  DR_INLINE int64_t u() const { return int64_t(best & 0xffff); }
};

}  // namespace dr::DR_ISA
