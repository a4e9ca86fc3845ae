#include "sim/reprojection/level_road.h"

#include <cmath>

#include "kernels/inverse_warp/inverse_warp.h"
#include "kernels/mul/mul.h"
#include "runtime/tape.h"
#include "sim/reprojection/reprojection.h"

namespace dr::sim {

namespace {

// Metres along the optical axis to what each pixel looks at, and whether that is road near to the old vehicle's path.
void append_depth(const CameraModel& c, const Pose& motion, std::vector<float>& depth, std::vector<float>& road) {
  const Pose camera = motion * c.mount;  // in the old vehicle's frame
  const Matrix3 r = matrix_of(c.mount), m = matrix_of(camera);
  for (int v = 0; v < c.height; v++)
    for (int u = 0; u < c.width; u++) {
      const double right = (u - c.cx) / c.fx, down = (v - c.cy) / c.fy;
      const double falls = r[6] + r[7] * right + r[8] * down;  // of the ray, per metre along the axis
      const bool down_there = falls * kRoadEndsM > c.height_m;
      depth.push_back(float(down_there ? c.height_m / falls : kThingsM));
      const auto place = [&](size_t row) {  // of the point, along an axis of the old vehicle
        return camera.at[row] + double(depth.back()) * (m[3 * row] + m[3 * row + 1] * right + m[3 * row + 2] * down);
      };
      const double ahead = place(0);
      road.push_back(down_there && ahead > 0 && ahead < kAheadM && std::fabs(place(1)) < kCorridorM);
    }
}

}  // namespace

MovedImage moved_on_level_road(Runtime& runtime, const Tensor& images, std::span<const CameraModel> cameras,
                               std::span<const Pose> motions) {
  const int64_t n = images.size(0), h = images.size(1), w = images.size(2);
  CHECK(int64_t(cameras.size()) == n && int64_t(motions.size()) == n, "level road: {} cameras and {} motions for {} images",
        cameras.size(), motions.size(), n);
  std::vector<float> depth, road, intrinsics, rigid;
  for (size_t i = 0; i < cameras.size(); i++) {
    const CameraModel& c = cameras[i];
    CHECK(c.height_m > 0, "level road: the height of a camera above the road is not known");
    CHECK(c.width == w && c.height == h, "level road: an image of {} x {} from a camera of {} x {} pixels", w, h, c.width,
          c.height);
    append_depth(c, motions[i], depth, road);
    intrinsics.insert(intrinsics.end(), {float(c.fx), float(c.fy), float(c.cx), float(c.cy)});
    const auto rows = rigid_rows(inverse(c.mount) * motions[i] * c.mount);
    rigid.insert(rigid.end(), rows.begin(), rows.end());
  }
  const Tensor k = runtime.from(intrinsics, {n, 4});
  const auto [image, seen] = evaluate_all(runtime, InverseWarp{Padding::border}, images, runtime.from(depth, {n, h, w}), k,
                                          k, runtime.from(rigid, {n, 3, 4}));
  return {image, evaluate(runtime, Mul{}, seen, runtime.from(road, {n, h, w}))};
}

}  // namespace dr::sim
