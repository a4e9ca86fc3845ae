#pragma once
// The gradient of a pose from those of pixels on a device, as pose_sums.h has it for the CPU: a group of 32 lanes sums a
// row of pixels, then one the rows. Last include of a `.cu`, as gpu.h.

#include "kernels/project_depth/projection.h"

#include "kernels/core/gpu_rows.h"

namespace dr::DR_BACKEND {

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
inline void pose_gradient(const Context& ctx, const PoseSums& s, const Projections& p, const View& dpose) {
  for_rows(ctx, dpose.count(), PoseGradient{s, p, dpose.as<float>()});
}

}  // namespace dr::DR_BACKEND
