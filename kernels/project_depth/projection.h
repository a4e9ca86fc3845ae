#pragma once
// Pixels with depth into another camera, W of a row at a time: what project_depth, inverse_warp and depth_warp share,
// so that they do the same operations. kernels/project_depth/project_depth.h states them. Last include of a `_cpu.cpp`,
// as simd.h; of a `.cu` too, before gpu_*.h.

#include <limits>

#include "kernels/project_depth/camera.h"

#include "kernels/core/lanes.h"

namespace dr::DR_ISA {

struct Projection {
  float fx, fy, cx, cy, to_fx, to_fy, to_cx, to_cy;
  float r[3][3], t[3];

  DR_INLINE Projection(const float* k, const float* to, const float* p)
      : fx(k[0]), fy(k[1]), cx(k[2]), cy(k[3]), to_fx(to[0]), to_fy(to[1]), to_cx(to[2]), to_cy(to[3]) {
#pragma GCC unroll 3
    for (int i = 0; i < 3; i++) {
#pragma GCC unroll 3
      for (int j = 0; j < 3; j++) r[i][j] = p[4 * i + j];
      t[i] = p[4 * i + 3];
    }
  }
};
// The projections of a call's samples.
struct Projections {
  const float *camera, *to_camera, *pose;
  int64_t camera_stride, to_stride, pose_stride;

  Projections(const View& camera_, const View& to_camera_, const View& pose_)
      : camera(camera_.as<float>()), to_camera(to_camera_.as<float>()), pose(pose_.as<float>()),
        camera_stride(camera_.stride(0)), to_stride(to_camera_.stride(0)), pose_stride(pose_.stride(0)) {}
  DR_INLINE Projection operator()(int64_t n) const {
    return {camera + n * camera_stride, to_camera + n * to_stride, pose + n * pose_stride};
  }
};

// The rays (x, y, 1) of W pixels, and these turned into the other camera's axes.
struct Rays {
  f32v x, y, q[3];

  DR_INLINE Rays(const Projection& p, f32v u, f32v v) {
    x = (u - splat(p.cx)) / splat(p.fx), y = (v - splat(p.cy)) / splat(p.fy);
#pragma GCC unroll 3
    for (int i = 0; i < 3; i++)
      q[i] = fma(splat(p.r[i][0]), x, fma(splat(p.r[i][1]), y, splat(p.r[i][2])));
  }
};
// Of W pixels of row v, from u on.
DR_INLINE Rays row_rays(const Projection& p, int64_t u, int64_t v) {
#if defined(DR_BACKEND)
  return Rays(p, float(u), float(v));
#else
  return Rays(p, splat(float(u)) + lane_numbers(), splat(float(v)));
#endif
}

// Where the points at `depth` on the rays lie. Where they cannot be seen, valid = 0, z = 0, x = y = -infinity.
struct Projected {
  f32v x, y, z, a, b, inverse;
  maskv valid;

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

}  // namespace dr::DR_ISA
