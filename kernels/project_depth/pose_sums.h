#pragma once
// The gradient of a pose from those of pixels: what project_depth and inverse_warp share. Last include of a `_cpu.cpp`,
// as simd.h.

#include "kernels/project_depth/projection.h"

#include "kernels/core/reduce.h"

namespace dr::DR_ISA {

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
