#include <cmath>

#include "kernels/ray_cast/ray_cast.h"

namespace dr {

Shapes RayCast::infer(const In& in) const {
  CHECK(height > 0 && width > 0 && height <= 16384 && width <= 16384, "ray_cast: height {} and width {} must be 1..16384",
        height, width);
  CHECK(in.camera.rank() == 2, "ray_cast: camera must be (N,{}), got {}", kCameraFields, to_string(in.camera));
  const int64_t n = in.camera.size(0);
  expect_f32(in.camera, {n, kCameraFields}, "ray_cast: camera");
  expect_sizes(in.scene_of, {n}, "ray_cast: scene_of");
  auto rows = [](const View& v, int64_t fields, std::string_view what) {
    CHECK(v.rank() == 2, "ray_cast: {} must be (rows,{}), got {}", what, fields, to_string(v));
    expect_f32(v, {v.size(0), fields}, format("ray_cast: {}", what));
    CHECK(v.packed(), "ray_cast: {} must be packed", what);
  };
  rows(in.scene, kSceneFields, "scene");
  rows(in.pieces, kPieceFields, "pieces");
  rows(in.profiles, kProfileFields, "profiles");
  rows(in.objects, kObjectFields, "objects");
  expect_sizes(in.layout, {in.scene.size(0), kLayoutFields}, "ray_cast: layout");
  CHECK(in.cells.rank() == 1, "ray_cast: cells must be (I), got {}", to_string(in.cells));
  for (const View* v : {&in.scene_of, &in.layout, &in.cells})
    CHECK(v->dtype == DType::i32, "ray_cast: scene_of, layout and cells must be i32, got {}", to_string(*v));
  return {{DType::u8, {n, height, width, 3}}, {DType::f32, {n, height, width}}, {DType::u8, {n, height, width}}};
}

std::vector<Case<RayCast>> RayCast::cases() {
  // One scene: a straight road along x that turns right after 40 m, a house, a car, a tree. The grid has cells of 4 m.
  struct Tables {
    std::vector<double> scene, layout, cells, pieces, profiles, objects;
  };
  auto tables = [](int scenes, int spread) {
    Tables t;
    for (int e = 0; e < scenes; e++) {
      const int columns = 40, rows = 12;
      for (double v : {0.36, -0.48, -0.8, 0.8, 0.45, 0.004, 0.75, 0.8, 0.86, 0.25, 0.45, 0.8, 0.6, -10.0, -24.0, 4.0, 0.35,
                       0.3, 0.42, 0.2})
        t.scene.push_back(v);
      const int objects = 3 + spread;
      for (int v : {int(t.cells.size()), columns, rows, e * objects, objects, 11 + e}) t.layout.push_back(v);
      const int first = int(t.pieces.size()) / kPieceFields;
      double x = -10, y = 0, heading = 0;
      for (int i = 0; i < 150; i++) {
        const double curvature = i < 50 ? 0 : 1.0 / 64;
        for (double v : {x, y, std::cos(heading), std::sin(heading), curvature, double(i), 0.0}) t.pieces.push_back(v);
        x += std::cos(heading + curvature / 2), y += std::sin(heading + curvature / 2), heading += curvature;
      }
      for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++) {
          const double cx = -10 + 4 * (c + 0.5), cy = -24 + 4 * (r + 0.5);
          int nearest = -1;
          double least = 20;
          for (int i = 0; i < 150; i++) {
            const double* p = &t.pieces[size_t((first + i) * kPieceFields)];
            const double d = std::hypot(p[0] + p[2] / 2 - cx, p[1] + p[3] / 2 - cy);
            if (d < least) least = d, nearest = first + i;
          }
          t.cells.push_back(nearest);
        }
      for (std::initializer_list<double> o :
           {std::initializer_list<double>{5, 30, -14, -4, 0.8, 0.6, 6, 5, 4, 0.7, 0.5, 0.4, 3, 0},
            std::initializer_list<double>{6, 24, 6, -0.75, 1, 0, 2.2, 0.9, 0.75, 0.7, 0.1, 0.1, 0, 0},
            std::initializer_list<double>{8, 18, -7, -4, 1, 0, 2, 2, 2.5, 0.2, 0.4, 0.15, 0, 0}})
        t.objects.insert(t.objects.end(), o);
      for (int i = 0; i < spread; i++)  // more houses and trees, further down the road
        for (double v : {i % 2 ? 8.0 : 5.0, 20.0 + 1.3 * i, (i % 4 < 2 ? -1 : 1) * (9.0 + i % 5), -3.0, 0.96, 0.28, 3.0, 2.5, 3.0,
                         0.3 + 0.05 * (i % 7), 0.4, 0.3, i % 2 ? 0.0 : 3.0, 0.0})
          t.objects.push_back(v);
    }
    for (double v : {-5.5, 5.5, 1.0, 4.0}) t.profiles.push_back(v);
    for (double v : {-5.25, 0.075, 1.0, 0.0, -1.75, 0.075, 2.0, 0.0, 1.75, 0.06, 4.0, 0.0, 5.25, 0.1, 3.0, 0.0})
      t.profiles.push_back(v);
    t.profiles.resize(kProfileFields);
    return t;
  };
  auto make = [&](int64_t n, int h, int w, int scenes, int spread = 0) {
    const Tables t = tables(scenes, spread);
    std::vector<double> cameras, scene_of;
    for (int64_t i = 0; i < n; i++) {
      const double yaw = 0.05 * double(i % 5) - 0.1, c = std::cos(yaw), s = std::sin(yaw), focal = double(w) * 0.9;
      // yaw about z; camera z looks along the heading, camera x to its right, camera y down
      for (double v : {1.5 * double(i), 0.2, -1.22, -s, 0.0, c, c, 0.0, s, 0.0, 1.0, 0.0, focal, focal, (w - 1) / 2.0, h * 0.4})
        cameras.push_back(v);
      scene_of.push_back(double(i % scenes));
    }
    auto table = [](const std::vector<double>& v, int64_t fields, DType d = DType::f32) {
      const int64_t rows = int64_t(v.size()) / std::max<int64_t>(fields, 1);
      return values(fields ? Sizes{rows, fields} : Sizes{int64_t(v.size())}, v).as(d);
    };
    Case<RayCast> k({.height = h, .width = w},
                    {.name = format("N={},H={},W={},E={}{}", n, h, w, scenes, spread ? format(",O={}", 3 + spread) : ""),
                     .in = {values({n, kCameraFields}, cameras), values({n}, scene_of).as(DType::i32),
                            table(t.scene, kSceneFields), table(t.layout, kLayoutFields, DType::i32),
                            table(t.cells, 0, DType::i32), table(t.pieces, kPieceFields),
                            table(t.profiles, kProfileFields), table(t.objects, kObjectFields)},
                     .samples = int(std::max<int64_t>(n, 1))});
    return k;
  };
  std::vector<Case<RayCast>> list = {make(3, 33, 70, 2), make(1, 24, 31, 1), make(1, 1, 1, 1), make(0, 8, 8, 1),
                                     make(2, 48, 96, 1, 12)};
  list.push_back(make(8, 128, 256, 2, 60));
  list.back().bench = true, list.back().samples = 1;
  return list;
}

}  // namespace dr
