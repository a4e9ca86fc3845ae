#pragma once
// A scene: a road, what stands beside it, and its light, as the tables that RayCast reads.

#include <vector>

#include "runtime/runtime.h"
#include "sim/road/road.h"

namespace dr::sim {

// A box or an ellipsoid on the ground. Sizes in metres.
struct Thing {
  Semantic kind;
  Vec2 at;
  double base_m = 0;                                    // height of its underside above the ground
  double heading_rad = 0, length_m = 1, width_m = 1, height_m = 1;
  std::array<double, 3> colour{0.5, 0.5, 0.5};
  double window_pitch_m = 0;
};

struct Light {
  double sun_azimuth_rad = 0.6, sun_elevation_rad = 0.8;
  double sunlight = 0.7, ambient = 0.45, fog_per_m = 0.003, clouds = 0.5;
  std::array<double, 3> horizon{0.78, 0.83, 0.88}, zenith{0.25, 0.45, 0.8}, terrain{0.3, 0.42, 0.2};
  double asphalt = 0.34;
};

struct Scene {
  Road road;
  std::vector<Thing> things;
  Light light;
  uint32_t texture_seed = 0;
};

// Roadside houses, trees, poles and parked cars, and a time of day; a pure function of (road, seed).
Scene make_scene(Road road, uint64_t seed);

// The tables of several scenes on a device.
class SceneTables {
 public:
  SceneTables(Runtime& runtime, const std::vector<const Scene*>& scenes);

  struct Images {
    Tensor rgb, depth, label;  // as RayCast's outputs
  };
  // Images of the cameras, kCameraFields numbers each, one after the other; scene_of as many.
  Images render(Runtime& runtime, int height, int width, const std::vector<float>& cameras,
                const std::vector<int32_t>& scene_of) const;

 private:
  Tensor scene_, layout_, cells_, pieces_, profiles_, objects_;
};

}  // namespace dr::sim
