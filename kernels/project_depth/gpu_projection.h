#pragma once
// Pixels with depth into another camera on a device, and back: what project_depth and inverse_warp share. Gradients of
// a pose are sums as in pose_sums.h: a group of 32 lanes sums a row of pixels, then one the rows. Last include of a
// `.cu`, as gpu.h.

#include "kernels/project_depth/projection.h"

#include "kernels/core/gpu_channels.h"
#include "kernels/core/gpu_rows.h"

namespace dr::DR_BACKEND {

// One pixel's point in the other image, and its depth there.
struct Project {
  Projections projections;
  Pixels<const float> depth;
  float *grid, *z;  // z null: not wanted
  int64_t rows, width;

  DR_DEVICE void operator()(int64_t i) const {
    const PixelAt at = pixel_at(i, rows, width);
    const Projection p = projections(at.n);
    const Projected to(p, row_rays(p, at.j, at.i), *depth.at(at.n, at.i, at.j));
    grid[2 * i] = to.x, grid[2 * i + 1] = to.y;
    if (z) z[i] = to.z;
  }
};
inline void project(const Context& ctx, const Projections& p, const View& depth, float* grid, float* z) {
  for_each(ctx, depth.count(), Project{p, pixels_of<const float>(depth), grid, z, depth.size(1), depth.size(2)});
}

// Nine sums of each row of pixels of (N,H,W): of image n, number k, row v.
struct PoseSums {
  float* sums;
  int64_t rows;

  PoseSums(const Context& ctx, const View& pixels, size_t offset)
      : sums(ctx.scratch_as<float>(pose_sums_bytes(pixels) / sizeof(float), offset)), rows(pixels.size(1)) {}

  // A lane's part of a row.
  struct Lane {
    float sum[kPoseSums] = {};
    DR_DEVICE void add(const Rays& rays, float depth, const PointGradient& d) {
      DR_UNROLL
      for (int i = 0; i < 3; i++) {
        const float m = d.g[i] * depth;
        sum[3 * i] = fma(m, rays.x, sum[3 * i]);
        sum[3 * i + 1] = sum[3 * i + 1] + m;
        sum[3 * i + 2] = sum[3 * i + 2] + d.g[i];
      }
    }
  };
  DR_DEVICE void store_row(int64_t n, int64_t v, const Lane& lane) const {
    DR_UNROLL
    for (int k = 0; k < kPoseSums; k++) {
      const float total = group_sum(lane.sum[k]);
      if (lane_index() == 0) sums[(n * kPoseSums + k) * rows + v] = total;
    }
  }
};

// One row of pixels, by a group.
struct ProjectBackward {
  Projections projections;
  Pixels<const float> depth;
  const float *dgrid, *dz;  // null: zero
  float* ddepth;            // null: not wanted
  PoseSums pose_sums;
  int64_t width;

  DR_DEVICE void operator()(int64_t r) const {
    const int64_t n = r / pose_sums.rows, v = r % pose_sums.rows;
    const Projection p = projections(n);
    PoseSums::Lane lane;
    for (int64_t u = lane_index(); u < width; u += kGroup) {
      const int64_t i = r * width + u;
      const Rays rays = row_rays(p, u, v);
      const float d = *depth.at(n, v, u);
      const float gx = dgrid ? dgrid[2 * i] : 0.f, gy = dgrid ? dgrid[2 * i + 1] : 0.f, gz = dz ? dz[i] : 0.f;
      const PointGradient g(p, rays, Projected(p, rays, d), gx, gy, gz);
      if (ddepth) ddepth[i] = g.depth;
      lane.add(rays, d, g);
    }
    pose_sums.store_row(n, v, lane);
  }
};
// Element r % 12 of the gradient (3,4) of pose r / 12.
struct PoseGradient {
  PoseSums s;
  Projections projections;
  float* dpose;

  DR_DEVICE void operator()(int64_t r) const {
    const int64_t n = r / 12, i = r % 12 / 4, j = r % 4;
    const float* const from = s.sums + (n * kPoseSums + 3 * i + (j == 0 ? 0 : j == 3 ? 2 : 1)) * s.rows;
    float total;
    if (j == 1) {
      const Projection p = projections(n);
      total = row_reduce(s.rows, [&](float& acc, int64_t v) { acc = fma((float(v) - p.cy) / p.fy, from[v], acc); });
    } else {
      total = row_reduce(s.rows, [&](float& acc, int64_t v) { acc = acc + from[v]; });
    }
    if (lane_index() == 0) dpose[r] = total;
  }
};
// Scratch: pose_sums_bytes. Absent gradients are not wanted.
inline void project_backward(const Context& ctx, const Projections& p, const View& depth, const float* dgrid,
                             const float* dz, const View& ddepth, const View& dpose) {
  const PoseSums sums(ctx, depth, 0);
  for_rows(ctx, depth.size(0) * depth.size(1),
           ProjectBackward{p, pixels_of<const float>(depth), dgrid, dz, ddepth ? ddepth.as<float>() : nullptr, sums,
                           depth.size(2)});
  if (dpose) for_rows(ctx, dpose.count(), PoseGradient{sums, p, dpose.as<float>()});
}

}  // namespace dr::DR_BACKEND
