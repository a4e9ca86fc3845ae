#pragma once
// A pinhole camera and where it sits in the vehicle. Camera axes x right, y down, z forward; pixel centres at integers.

#include <array>
#include <string_view>

#include "kernels/ray_cast/ray_cast.h"
#include "sim/vehicle/kinematic.h"

namespace dr::sim {

struct Camera {
  int width = 256, height = 128;
  double fx = 227.5, fy = 227.5, cx = 128, cy = 75.9;  // pixels
  double height_m = 1.22, forward_m = 0;                // of the mount: above the ground, ahead of the vehicle's origin

  // comma's two cameras after cropping to 256 x 128. Source: openpilot's medium model frames (common/transformations).
  static Camera narrow() { return {256, 128, 455, 455, 128, 23.8, 1.22, 0}; }
  static Camera wide() { return {}; }
  static Camera named(std::string_view name) {
    CHECK(name == "narrow" || name == "wide", "camera '{}'; accepted: narrow, wide", name);
    return name == "narrow" ? narrow() : wide();
  }

  // The same view on another number of pixels: pixel centres at integers, so that edges stay where they are.
  Camera resized(int new_width, int new_height) const {
    const double sx = double(new_width) / width, sy = double(new_height) / height;
    return {new_width, new_height, fx * sx, fy * sy, (cx + 0.5) * sx - 0.5, (cy + 0.5) * sy - 0.5, height_m, forward_m};
  }

  // A row of RayCast's `camera` for a vehicle standing level on the ground.
  std::array<float, kCameraFields> row(const VehicleState& v) const {
    const Vec2 d = direction(v.heading_rad), at = v.at + forward_m * d;
    return {float(at.x), float(at.y), float(-height_m),
            float(-d.y), 0, float(d.x),   // world x of the camera's right, down, forward
            float(d.x), 0, float(d.y),    // world y
            0, 1, 0,                      // world z
            float(fx), float(fy), float(cx), float(cy)};
  }
};

}  // namespace dr::sim
