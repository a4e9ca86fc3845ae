#pragma once
// Where bilinear samples fall in their image, W at a time: what bilinear.h and gpu_bilinear.h share.
// kernels/grid_sample/grid_sample.h states it. Last include of a `_cpu.cpp`, as simd.h.

#include <limits>

#include "kernels/grid_sample/image.h"

#include "kernels/core/lanes.h"

namespace dr::DR_ISA {

// Corners are numbered 0 (x0, y0), 1 (x0 + 1, y0), 2 (x0, y0 + 1), 3 (x0 + 1, y0 + 1).
struct Place {
  f32v fx, fy, gx, gy;             // x - x0, y - y0, and 1 less these
  maskv left, right, top, bottom;  // whether the corners of that side are pixels of the image
  maskv moves_x, moves_y;          // whether the sample follows its coordinate; else the border holds it

  // v, or 0 where corner k is outside.
  DR_INLINE f32v of_corner(int k, f32v v) const {
    return pick((k % 2 ? right : left) & (k / 2 ? bottom : top), v, f32v{});
  }
  // What the samples' values change by with x and y; s: of_corner of the corners' products with the gradient.
  DR_INLINE Pairs slopes(f32v s0, f32v s1, f32v s2, f32v s3) const {
    const f32v zero{};
    return {pick(moves_x, fma(gy, s1 - s0, fy * (s3 - s2)), zero),
            pick(moves_y, fma(gx, s2 - s0, fx * (s3 - s1)), zero)};
  }
};
struct Corners {
  f32v weight[4];  // 0 for a corner outside
  i32v offset[4];  // of the pixel that stands for the corner, in elements
  maskv inside;    // else the sample is outside
  Floor x0, y0;    // where it is inside
};

// Each lane may have an image of its own: its width and height, the elements from one row to the next, and where its
// pixel (0, 0) lies.
DR_INLINE Corners corners_at(f32v x, f32v y, f32v width, f32v height, i32v row, int64_t column, i32v origin,
                             Padding padding, Place& at) {
  const f32v one = splat(1), zero{}, last_x = width - one, last_y = height - one;
  Corners out;
  if (padding == Padding::border) {
    const f32v huge = splat(std::numeric_limits<float>::max());
    out.inside = (abs(x) <= huge) & (abs(y) <= huge);
    at.moves_x = (x > zero) & (x < last_x);
    at.moves_y = (y > zero) & (y < last_y);
    x = pick(x > zero, pick(x < last_x, x, last_x), zero);
    y = pick(y > zero, pick(y < last_y, y, last_y), zero);
  } else {
    out.inside = (x > -one) & (x < width) & (y > -one) & (y < height);
    at.moves_x = at.moves_y = everywhere();
  }
  x = pick(out.inside, x, zero);
  y = pick(out.inside, y, zero);
  const Floor i = floor_of(x), j = floor_of(y);
  out.x0 = i, out.y0 = j;
  at.fx = x - i.value, at.fy = y - j.value;
  at.gx = one - at.fx, at.gy = one - at.fy;
  at.left = i.value >= zero, at.right = i.value < last_x, at.top = j.value >= zero, at.bottom = j.value < last_y;

  const f32v wx[2] = {pick(at.left, at.gx, zero), pick(at.right, at.fx, zero)};
  const f32v wy[2] = {pick(at.top, at.gy, zero), pick(at.bottom, at.fy, zero)};
  const i32v column_v = splat_i(int(column)), none{};
  i32v at_x[2] = {pick(at.left, i.integer, none) * column_v};  // -1: as 0
  i32v at_y[2] = {pick(at.top, j.integer, none) * row + origin};
  at_x[1] = pick(at.left & at.right, at_x[0] + column_v, at_x[0]);
  at_y[1] = pick(at.top & at.bottom, at_y[0] + row, at_y[0]);
#pragma GCC unroll 4
  for (int k = 0; k < 4; k++) {
    out.weight[k] = wy[k / 2] * wx[k % 2];
    out.offset[k] = at_x[k % 2] + at_y[k / 2];
  }
  return out;
}

}  // namespace dr::DR_ISA
