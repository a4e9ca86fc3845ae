#include "sim/scene/scene.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "sim/random.h"

namespace dr::sim {

namespace {

constexpr double kCell = 4;   // m
constexpr double kPiece = 1;  // m of road in a piece: its middle's curvature stands for all of it

// Appends a road's pieces, and the grid whose cells say which piece is nearest.
void add_road(const Road& road, float profile, std::vector<float>& pieces, std::vector<int32_t>& cells, Vec2& origin,
              int& columns, int& rows) {
  const int first = int(pieces.size()) / kPieceFields, count = int(road.line.length_m() / kPiece);
  Vec2 low{1e30, 1e30}, high{-1e30, -1e30};
  for (int i = 0; i < count; i++) {
    const LinePoint p = road.line.at(i * kPiece);
    const Vec2 d = direction(p.heading_rad);
    for (double v : {p.at.x, p.at.y, d.x, d.y, road.line.at((i + 0.5) * kPiece).curvature, i * kPiece, double(profile)})
      pieces.push_back(float(v));
    low = {std::min(low.x, p.at.x), std::min(low.y, p.at.y)}, high = {std::max(high.x, p.at.x), std::max(high.y, p.at.y)};
  }
  const double reach = std::max(-road.left_edge_m(), road.right_edge_m()) + road.shoulder_m + kCell;  // incl. half a diagonal
  origin = {std::floor(low.x - reach), std::floor(low.y - reach)};
  columns = int(std::ceil((high.x + reach - origin.x) / kCell)), rows = int(std::ceil((high.y + reach - origin.y) / kCell));
  const size_t base = cells.size();
  cells.resize(base + size_t(columns) * size_t(rows), -1);
  std::vector<double> least(cells.size() - base, reach * reach);
  for (int i = 0; i < count; i++) {
    const LinePoint p = road.line.at((i + 0.5) * kPiece);
    const int c0 = int((p.at.x - reach - origin.x) / kCell), c1 = int((p.at.x + reach - origin.x) / kCell);
    const int r0 = int((p.at.y - reach - origin.y) / kCell), r1 = int((p.at.y + reach - origin.y) / kCell);
    for (int r = std::max(0, r0); r <= std::min(rows - 1, r1); r++)
      for (int c = std::max(0, c0); c <= std::min(columns - 1, c1); c++) {
        const Vec2 d = Vec2{origin.x + (c + 0.5) * kCell, origin.y + (r + 0.5) * kCell} - p.at;
        double& best = least[size_t(r) * size_t(columns) + size_t(c)];
        if (dot(d, d) < best) best = dot(d, d), cells[base + size_t(r) * size_t(columns) + size_t(c)] = first + i;
      }
  }
}

void add_profile(const Road& road, std::vector<float>& profiles) {
  const std::vector<RoadMark> marks = road.marks();
  CHECK(marks.size() <= size_t(kMaxLines), "a road has at most {} lines, got {}", kMaxLines, marks.size());
  const size_t base = profiles.size();
  profiles.resize(base + kProfileFields);
  float* p = &profiles[base];
  p[0] = float(road.left_edge_m()), p[1] = float(road.right_edge_m()), p[2] = float(road.shoulder_m), p[3] = float(marks.size());
  for (size_t i = 0; i < marks.size(); i++) {
    p[4 + 4 * i] = float(marks[i].offset_m), p[5 + 4 * i] = float(marks[i].half_width_m);
    p[6 + 4 * i] = float(int(marks[i].style));
  }
}

}  // namespace

Scene make_scene(Road road, uint64_t seed) {
  Scene scene;
  scene.road = std::move(road);
  Random random(seed, RandomUse::scenery), sky(seed, RandomUse::light);
  scene.texture_seed = uint32_t(seed * 2654435761u >> 8) & 0xffffu;

  Light& l = scene.light;
  l.sun_azimuth_rad = sky.uniform(0, 2 * kPi), l.sun_elevation_rad = sky.uniform(0.35, 1.15);
  l.clouds = sky.uniform(0, 0.9), l.sunlight = sky.uniform(0.6, 0.8) * (1 - 0.4 * l.clouds), l.ambient = sky.uniform(0.38, 0.5);
  l.fog_per_m = sky.uniform(0.0012, 0.005), l.asphalt = sky.uniform(0.26, 0.42);
  const double haze = sky.uniform(-0.06, 0.05), green = sky.uniform(-0.06, 0.06);
  l.horizon = {0.78 + haze, 0.82 + haze, 0.87 + haze}, l.zenith = {0.25, 0.44 + haze, 0.78 + haze};
  l.terrain = {0.3 - green, 0.4 + 0.5 * green, 0.2};

  const Road& r = scene.road;
  std::vector<Vec2> points;
  for (double s = 0; s <= r.line.length_m(); s += 4) points.push_back(r.line.at(s).at);
  const double clear = std::max(-r.left_edge_m(), r.right_edge_m()) + r.shoulder_m;
  auto free = [&](Vec2 p, double radius) {  // of the whole road, not just of where it is placed
    const double least = clear + radius + 1;
    return std::none_of(points.begin(), points.end(), [&](Vec2 q) { return dot(p - q, p - q) < least * least; });
  };
  for (double s = 0; s < r.line.length_m(); s += random.uniform(5, 11))
    for (const int side : {-1, 1}) {
      const LinePoint p = r.line.at(s);
      const Vec2 right = right_of(direction(p.heading_rad));
      const double edge = side < 0 ? -r.left_edge_m() + r.shoulder_m : r.right_edge_m() + r.shoulder_m;
      const double what = random.uniform(0, 1), away = random.uniform(0, 1), turn = random.uniform(-0.15, 0.15);
      const double size = random.uniform(0, 1), tint = random.uniform(0, 1), tall = random.uniform(0, 1);
      auto place = [&](double distance) { return p.at + (side * (edge + distance)) * right; };
      if (what < 0.42) {
        const double radius = 1.2 + 1.8 * size, trunk = 1.2 + 1.8 * tall;
        const Vec2 at = place(radius + 1 + 16 * away * away);
        if (!free(at, radius)) continue;
        scene.things.push_back({Semantic::pole, at, 0, 0, 0.3, 0.3, trunk + 0.5, {0.33, 0.25, 0.17}});
        scene.things.push_back({Semantic::vegetation, at, trunk, 0, 2 * radius, 2 * radius, 2 * radius * (0.9 + 0.6 * tall),
                                {0.16 + 0.16 * tint, 0.32 + 0.12 * size, 0.12 + 0.05 * tint}});
      } else if (what < 0.68) {
        const double length = 7 + 9 * size, width = 6 + 5 * away, height = 3.5 + 8 * tall * tall;
        const Vec2 at = place(4 + 12 * away + 0.6 * length);
        if (!free(at, 0.6 * length)) continue;
        scene.things.push_back({Semantic::building, at, 0, p.heading_rad + turn, length, width, height,
                                {0.5 + 0.3 * tint, 0.42 + 0.25 * size, 0.36 + 0.22 * tall}, 2.6 + 0.8 * tint});
      } else if (what < 0.78) {
        const Vec2 at = place(0.6);
        if (!free(at, -0.8)) continue;
        scene.things.push_back({Semantic::pole, at, 0, 0, 0.2, 0.2, 5 + 2 * tall, {0.45, 0.45, 0.46}});
      } else if (what < 0.84) {
        const Vec2 at = place(1.6);
        if (!free(at, 0)) continue;
        const bool dark = tint < 0.4;
        scene.things.push_back({Semantic::vehicle, at, 0, p.heading_rad + 0.2 * turn, 4.2 + 0.6 * size, 1.8, 1.45 + 0.2 * tall,
                                {dark ? 0.12 : 0.75 * tall + 0.2, dark ? 0.13 : 0.25 + 0.4 * size, dark ? 0.16 : 0.7 * tint}});
      }
    }
  return scene;
}

SceneTables::SceneTables(Runtime& runtime, const std::vector<const Scene*>& scenes) {
  std::vector<float> scene, pieces, profiles, objects;
  std::vector<int32_t> layout, cells;
  for (const Scene* s : scenes) {
    const Light& l = s->light;
    const int first_cell = int(cells.size()), first_object = int(objects.size()) / kObjectFields;
    Vec2 origin;
    int columns = 0, rows = 0;
    add_road(s->road, float(profiles.size() / kProfileFields), pieces, cells, origin, columns, rows);
    add_profile(s->road, profiles);
    const Vec2 sun = double(canonical::cos(float(l.sun_elevation_rad))) * direction(l.sun_azimuth_rad);
    for (double v : {sun.x, sun.y, -double(canonical::sin(float(l.sun_elevation_rad))), l.sunlight, l.ambient, l.fog_per_m,
                     l.horizon[0], l.horizon[1], l.horizon[2], l.zenith[0], l.zenith[1], l.zenith[2], l.clouds, origin.x,
                     origin.y, kCell, l.asphalt, l.terrain[0], l.terrain[1], l.terrain[2]})
      scene.push_back(float(v));
    for (const Thing& t : s->things) {
      const Vec2 d = direction(t.heading_rad);
      for (double v : {double(int(t.kind)), t.at.x, t.at.y, -(t.base_m + 0.5 * t.height_m), d.x, d.y, 0.5 * t.length_m,
                       0.5 * t.width_m, 0.5 * t.height_m, t.colour[0], t.colour[1], t.colour[2], t.window_pitch_m, 0.0})
        objects.push_back(float(v));
    }
    for (int v : {first_cell, columns, rows, first_object, int(s->things.size()), int(s->texture_seed)}) layout.push_back(v);
  }
  auto table = [&](const std::vector<float>& v, int fields) { return runtime.from(v, {int64_t(v.size()) / fields, fields}); };
  scene_ = table(scene, kSceneFields), pieces_ = table(pieces, kPieceFields), profiles_ = table(profiles, kProfileFields);
  objects_ = table(objects, kObjectFields);
  layout_ = runtime.from(layout, {int64_t(scenes.size()), kLayoutFields});
  cells_ = runtime.from(cells, {int64_t(cells.size())});
}

SceneTables::Images SceneTables::render(Runtime& runtime, int height, int width, const std::vector<float>& cameras,
                                        const std::vector<int32_t>& scene_of) const {
  const int64_t n = int64_t(scene_of.size());
  CHECK(cameras.size() == size_t(n) * kCameraFields, "render: {} cameras of {} numbers expected, got {} numbers", n,
        kCameraFields, cameras.size());
  const auto op = erase(RayCast{.height = height, .width = width});
  const Tensor in[] = {runtime.from(cameras, {n, kCameraFields}), runtime.from(scene_of, {n}), scene_, layout_, cells_,
                       pieces_, profiles_, objects_};
  std::vector<View> views, out;
  for (const Tensor& t : in) views.push_back(t.view());
  std::vector<Tensor> images;
  for (const TensorSpec& spec : op->infer(views)) {
    images.push_back(runtime.empty(spec.dtype, spec.sizes));
    out.push_back(images.back().view());
  }
  runtime.forward(*op, runtime.context(), views, out);
  return {images[0], images[1], images[2]};
}

}  // namespace dr::sim
