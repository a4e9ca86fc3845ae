#pragma once
// What project_depth, inverse_warp and depth_warp take: a depth map, its camera, another camera, and the pose between.

#include "kernels/core/op.h"

namespace dr {

inline constexpr int64_t kMaxDepthSide = 4096;  // one block of a canonical row sum, 16 bits of a packed pixel

inline void expect_cameras(const View& depth, const View& camera, const View& to_camera, const View& pose,
                           std::string_view op) {
  CHECK(depth.rank() == 3 && depth.size(1) <= kMaxDepthSide && depth.size(2) <= kMaxDepthSide,
        "{}: depth must be (N,H,W) with H, W <= {}, got {}", op, kMaxDepthSide, to_string(depth));
  expect_f32(depth, depth.sizes, format("{}: depth", op));
  expect_f32(camera, {depth.size(0), 4}, format("{}: camera", op));
  expect_f32(to_camera, {depth.size(0), 4}, format("{}: to_camera", op));
  expect_f32(pose, {depth.size(0), 3, 4}, format("{}: pose", op));
  CHECK(pose.packed(1), "{}: pose must be packed but for axis 0", op);
}

// Scratch for the gradient of a pose: nine sums for each row of pixels.
inline constexpr int kPoseSums = 9;
inline size_t pose_sums_bytes(const View& pixels) {
  return size_t(pixels.size(0) * pixels.size(1) * kPoseSums) * sizeof(float);
}

}  // namespace dr
