#pragma once
// Pixels with depth into another camera, W of a row at a time: what project_depth, inverse_warp and depth_warp share,
// so that they do the same operations. kernels/project_depth/project_depth.h states them. Last include of a `_cpu.cpp`,
// as simd.h.

#include <limits>

#include "kernels/project_depth/camera.h"

#include "kernels/core/lanes.h"
#include "kernels/core/reduce.h"

namespace dr::DR_ISA {

struct Projection {
  float fx, fy, cx, cy, to_fx, to_fy, to_cx, to_cy;
  float r[3][3], t[3];

  Projection(const View& camera, const View& to_camera, const View& pose, int64_t n) {
    const float* const k = camera.as<float>() + n * camera.stride(0);
    fx = k[0], fy = k[1], cx = k[2], cy = k[3];
    const float* const to = to_camera.as<float>() + n * to_camera.stride(0);
    to_fx = to[0], to_fy = to[1], to_cx = to[2], to_cy = to[3];
    const float* const p = pose.as<float>() + n * pose.stride(0);
    for (int i = 0; i < 3; i++) {
      for (int j = 0; j < 3; j++) r[i][j] = p[4 * i + j];
      t[i] = p[4 * i + 3];
    }
  }
};

// The rays (x, y, 1) of W pixels, and these turned into the other camera's axes.
struct Rays {
  f32v x, y, q[3];

  DR_INLINE Rays(const Projection& p, f32v u, f32v v) {
    x = (u - splat(p.cx)) / splat(p.fx), y = (v - splat(p.cy)) / splat(p.fy);
    for (int i = 0; i < 3; i++)
      q[i] = fma(splat(p.r[i][0]), x, fma(splat(p.r[i][1]), y, splat(p.r[i][2])));
  }
};
DR_INLINE Rays row_rays(const Projection& p, int64_t u, int64_t v) {
  return Rays(p, splat(float(u)) + lane_numbers(), splat(float(v)));
}

// Where the points at `depth` on the rays lie. Where they cannot be seen, valid = 0, z = 0, x = y = -infinity.
struct Projected {
  f32v x, y, z, a, b, inverse;
  i32v valid;

  DR_INLINE Projected(const Projection& p, const Rays& rays, f32v depth) {
    const f32v zero{}, huge = splat(std::numeric_limits<float>::max());
    const f32v px = fma(depth, rays.q[0], splat(p.t[0])), py = fma(depth, rays.q[1], splat(p.t[1]));
    z = fma(depth, rays.q[2], splat(p.t[2]));
    inverse = splat(1) / z;
    a = px * inverse, b = py * inverse;
    x = fma(splat(p.to_fx), a, splat(p.to_cx)), y = fma(splat(p.to_fy), b, splat(p.to_cy));
    valid = (depth > zero) & (depth <= huge) & (z > zero) & (z <= huge) & (abs(x) <= huge) & (abs(y) <= huge);
    const f32v nowhere = splat(-std::numeric_limits<float>::infinity());
    x = pick(valid, x, nowhere), y = pick(valid, y, nowhere), z = pick(valid, z, zero);
  }
};

// Gradients of W pixels from those of x, y and z: `depth`, and g of the point in the other camera's axes.
struct PointGradient {
  f32v g[3], depth;

  DR_INLINE PointGradient(const Projection& p, const Rays& rays, const Projected& at, f32v dx, f32v dy, f32v dz) {
    const f32v zero{};
    g[0] = dx * splat(p.to_fx) * at.inverse, g[1] = dy * splat(p.to_fy) * at.inverse;
    g[2] = fma(-g[1], at.b, fma(-g[0], at.a, dz));
    const f32v* const q = rays.q;
    const f32v tz = splat(p.t[2]);
    const f32v cx = fma(q[0], tz, -(q[2] * splat(p.t[0]))), cy = fma(q[1], tz, -(q[2] * splat(p.t[1])));
    depth = fma(dz, q[2], fma(g[0], cx, g[1] * cy) * at.inverse);
    for (f32v& v : g) v = pick(at.valid, v, zero);
    depth = pick(at.valid, depth, zero);
  }
};

// The gradient of a pose: per row of pixels the row sums of m_i ray_x, m_i and g_i (m = depth g); then over the rows.
class PoseSums {
 public:
  // `pixels`: (N,H,W), of the call that has scratch of pose_sums_bytes from byte `offset` on.
  PoseSums(const Context& ctx, const View& pixels, size_t offset)
      : sums_(ctx.scratch_as<float>(pose_sums_bytes(pixels) / sizeof(float), offset)), rows_(pixels.size(1)) {}

  struct Row {
    Lanes lanes[kPoseSums];
    DR_INLINE void add(int64_t u, const Rays& rays, f32v depth, const PointGradient& d) {
      const int64_t slot = u / W % (32 / W);
      for (int i = 0; i < 3; i++) {
        const f32v m = d.g[i] * depth;
        f32v& x = lanes[3 * i].acc[slot];
        x = fma(m, rays.x, x);
        lanes[3 * i + 1].acc[slot] += m;
        lanes[3 * i + 2].acc[slot] += d.g[i];
      }
    }
  };
  void store_row(int64_t n, int64_t v, const Row& row) const {
    for (int k = 0; k < kPoseSums; k++) sums_[(n * kPoseSums + k) * rows_ + v] = row.lanes[k].total();
  }
  // dpose (3,4) of image n, after all its rows.
  void finish(int64_t n, const Projection& p, float* dpose) const {
    for (int i = 0; i < 3; i++) {
      const float* const s = sums_ + (n * kPoseSums + 3 * i) * rows_;
      dpose[4 * i] = row_sum(s, rows_);
      dpose[4 * i + 1] = row_reduce(rows_, [&](f32v& acc, int64_t v, auto m) {
        const f32v ray_y = (splat(float(v)) + lane_numbers() - splat(p.cy)) / splat(p.fy);
        acc = fma(ray_y, load_n(s + rows_ + v, m), acc);
      });
      dpose[4 * i + 2] = row_sum(s + rows_, rows_);
      dpose[4 * i + 3] = row_sum(s + 2 * rows_, rows_);
    }
  }

 private:
  float* sums_;
  int64_t rows_;
};

}  // namespace dr::DR_ISA
