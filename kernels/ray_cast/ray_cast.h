#pragma once
// Ray-cast images of road scenes: colour, metric depth and semantic labels for a batch of pinhole cameras, each looking
// at one of several scenes.
//
// A scene is a flat ground (the plane z = 0) with roads painted on it, and objects that stand on it: boxes and, for
// crowns of trees, ellipsoids, turned about the vertical axis. World axes x, y right of x, z down, metres; camera axes
// x right, y down, z forward, pixel centres at integers. The ray of pixel (v,u) is camera + t * d,
// d = R ((u - cx) / fx, (v - cy) / fy, 1), so that t is the depth along the optical axis.
//
//   camera   (N,16) f32: x, y, z; R row by row (world from camera); fx, fy, cx, cy
//   scene_of (N) i32: the scene that a camera looks at
//   scene    (E,20) f32: kScene... below       layout (E,6) i32: kLayout... below
//   cells    (I) i32: a scene's square grid, row by row along y: the piece whose road owns the cell, or -1
//   pieces   (P,7) f32: short stretches of constant curvature of the road's reference line: x, y, cos and sin of the
//            heading, curvature (1/m, positive to the right), station (m), profile
//   profiles (Q,36) f32: across the road, offsets in metres to the right of the reference line: left edge, right edge,
//            width of the shoulder on both sides, lines; then 8 lines of {offset, half width, LineStyle, 0}
//   objects  (O,14) f32: Semantic (building, vehicle, pole: box; vegetation: ellipsoid), x, y, z of the centre, cos and
//            sin of the heading, half length, half width, half height, red, green, blue in [0, 1], window pitch (m; 0:
//            no windows; of buildings), 0
//   rgb (N,H,W,3) u8    depth (N,H,W) f32 metres, 0 where the ray meets nothing (the sky)    label (N,H,W) u8: Semantic
// Everything but camera and scene_of is shared. Throws where a camera names no scene or a scene reaches outside its
// tables; a cell that names no piece is terrain.
//
// Order: each pixel by itself, in f32 with the fused multiply-adds written in the kernel. The nearest surface wins, the
// first of equals; objects count from t = kNear on, the ground up to t = kFar. Everything painted is filtered with the
// pixel's footprint (a box), so that markings and textures fade instead of flickering; label is the surface that covers
// more than half of it. No gradient.

#include "kernels/core/op.h"

namespace dr {

enum class Semantic : uint8_t { sky, terrain, road, marking, shoulder, building, vehicle, pole, vegetation };
inline constexpr int kSemantics = 9;

enum class LineStyle : uint8_t { none, white, white_dashed, yellow, yellow_dashed };

// Fields of a row of `scene`.
inline constexpr int kSceneSun = 0;        // 3: unit vector towards the sun
inline constexpr int kSceneSunlight = 3;   // its strength; 1 with ambient 0 shows a surface's own colour
inline constexpr int kSceneAmbient = 4;
inline constexpr int kSceneFog = 5;        // 1/m: light is 1 - exp(-fog * distance) fog
inline constexpr int kSceneHorizon = 6;    // 3: colour of the fog and of the sky at the horizon
inline constexpr int kSceneZenith = 9;     // 3
inline constexpr int kSceneClouds = 12;    // 0: none, 1: full
inline constexpr int kSceneOrigin = 13;    // 2: x, y of the grid's corner
inline constexpr int kSceneCell = 15;      // m
inline constexpr int kSceneAsphalt = 16;   // grey level
inline constexpr int kSceneTerrain = 17;   // 3
inline constexpr int kSceneFields = 20;
// Fields of a row of `layout`.
inline constexpr int kLayoutFirstCell = 0, kLayoutColumns = 1, kLayoutRows = 2, kLayoutFirstObject = 3,
                     kLayoutObjects = 4, kLayoutSeed = 5, kLayoutFields = 6;
inline constexpr int kPieceFields = 7, kProfileFields = 36, kObjectFields = 14, kCameraFields = 16, kMaxLines = 8;

struct RayCast {
  static constexpr std::string_view name = "ray_cast";
  static constexpr float kNear = 0.2f, kFar = 2000;          // m
  static constexpr float kDash = 3, kDashPeriod = 9;         // m: a dashed line's dash, and dash with gap
  int height = 128, width = 256;

  struct In {
    View camera, scene_of, scene, layout, cells, pieces, profiles, objects;
    static constexpr auto names =
        fields("camera", "scene_of", "scene", "layout", "cells", "pieces", "profiles", "objects");
    static constexpr auto shared = fields("scene", "layout", "cells", "pieces", "profiles", "objects");
  };
  struct Out { View rgb, depth, label; static constexpr auto names = fields("rgb", "depth", "label"); };

  Shapes infer(const In& in) const;
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // A pixel of ground costs about 300 operations; objects add to it as the scene has them.
  Cost cost(const In& in) const {
    return traffic(300.0 * double(in.camera.size(0)) * height * width, in, infer(in));
  }
  static std::vector<Case<RayCast>> cases();
};

}  // namespace dr
