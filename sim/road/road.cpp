#include "sim/road/road.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/check.h"
#include "sim/random.h"

namespace dr::sim {

std::vector<RoadMark> Road::marks() const {
  std::vector<RoadMark> marks;
  for (int i = -oncoming; i <= forward; i++) {
    const bool edge = i == -oncoming || i == forward;
    const LineStyle style = i == 0 && oncoming > 0 ? LineStyle::yellow : edge ? LineStyle::white : LineStyle::white_dashed;
    marks.push_back({i * lane_width_m, edge ? 0.075 : 0.06, style});
  }
  return marks;
}

double curve_speed_mps(double curvature, double limit_mps) {
  const double k = std::fabs(curvature);
  return k * limit_mps * limit_mps <= 2.5 ? limit_mps : std::sqrt(2.5 / k);
}

namespace {

constexpr double kApart = 45;    // m between stretches of the road
constexpr double kAlong = 120;   // m of road that may be as near as it likes
constexpr double kHeading = 1.9; // rad either side of the first heading, so that a road gets on

// Whether the points [from, end) keep away from all earlier ones.
bool keeps_away(const std::vector<Vec2>& points, size_t from) {
  const size_t skip = size_t(kAlong / 5);
  for (size_t i = from; i < points.size(); i++)
    for (size_t j = 0; j + skip < i; j++) {
      const Vec2 d = points[i] - points[j];
      if (dot(d, d) < kApart * kApart) return false;
    }
  return true;
}

}  // namespace

Road make_road(const RoadStyle& style, uint64_t seed) {
  Random random(seed, RandomUse::road);
  Road road;
  road.forward = random.integer(1, style.lanes_max);
  road.oncoming = std::min(road.forward, random.integer(1, 2));
  std::vector<Vec2> points;  // every 5 m
  auto add_points = [&](const ReferenceLine& line) {
    for (double s = 5 * double(points.size()); s <= line.length_m(); s += 5) points.push_back(line.at(s).at);
  };
  road.line.append_line(random.uniform(style.straight_min_m, style.straight_max_m));
  add_points(road.line);
  struct Block {  // the road up to here
    ReferenceLine line;
    size_t points;
  };
  std::vector<Block> blocks{{road.line, points.size()}};
  int failures = 0;
  while (blocks.back().line.length_m() < style.length_m) {
    const ReferenceLine& before = blocks.back().line;
    const double radius = random.uniform(style.radius_min_m, style.radius_max_m);
    const double turn = random.uniform(style.turn_min_rad, style.turn_max_rad);
    const double straight = random.uniform(style.straight_min_m, style.straight_max_m);
    // Either way, but not back to where the road comes from.
    const double heading = before.at(before.length_m()).heading_rad;
    const double side = std::fabs(heading + turn) > kHeading ? -1 : std::fabs(heading - turn) > kHeading ? 1
                        : random.chance(0.5) ? 1 : -1;
    const double curvature = side / radius;
    // A clothoid turns by half of what an arc of its length would; both together may take the whole turn.
    const double clothoid = std::min(style.transition_s * curve_speed_mps(curvature, 100), 0.95 * turn * radius);
    Block next{before, 0};
    next.line.append(clothoid, 0, curvature);
    next.line.append_arc(turn * radius - clothoid, curvature);
    next.line.append(clothoid, curvature, 0);
    next.line.append_line(straight);
    points.resize(blocks.back().points);
    add_points(next.line);
    next.points = points.size();
    if (keeps_away(points, blocks.back().points)) {
      blocks.push_back(std::move(next));
      continue;
    }
    // Cornered: after a few tries the last blocks are made anew.
    CHECK(++failures < 1000, "road {}: no curves of radius {} to {} m keep a road of {} m off itself", seed,
          style.radius_min_m, style.radius_max_m, style.length_m);
    if (failures % 8 == 0) blocks.resize(std::max<size_t>(1, blocks.size() - 3), blocks.front());
  }
  road.line = std::move(blocks.back().line);
  return road;
}

}  // namespace dr::sim
