#pragma once
// The line that a road is laid out along: lines, arcs and clothoids joined end to end, parametrised by the station (m).
// Heading is continuous and never wrapped.

#include <cstddef>
#include <vector>

#include "sim/geometry.h"

namespace dr::sim {

// Where a station lies: position, heading, curvature (1/m, positive to the right).
struct LinePoint {
  Vec2 at;
  double heading_rad = 0, curvature = 0;
};

// A point seen from the line: the station of the nearest point, and how far right of it.
struct LinePosition {
  double station_m = 0, offset_m = 0;
};

class ReferenceLine {
 public:
  explicit ReferenceLine(LinePoint start = {}) : knots_{{0, start}} {}

  // Goes on for length_m > 0 while the curvature changes linearly from `from` to `to`: a line where both are 0, an arc
  // where they are equal, else a clothoid. Throws where length is not positive or |curvature| > 1.
  void append(double length_m, double from, double to);
  void append_line(double length_m) { append(length_m, 0, 0); }
  void append_arc(double length_m, double curvature) { append(length_m, curvature, curvature); }

  double length_m() const { return knots_.back().station_m; }
  // Before the start and past the end the line goes on straight.
  LinePoint at(double station_m) const;
  // The nearest point within 60 m of station `near_m` along the line.
  LinePosition project(Vec2 p, double near_m) const;

 private:
  struct Knot {  // every kKnot metres and wherever a part begins, so that a part is short and `at` integrates little
    double station_m;
    LinePoint point;
    double curvature_rate = 0;  // 1/m^2, up to the next knot
  };
  static constexpr double kKnot = 1;  // m
  size_t knot_before(double station_m) const;
  std::vector<Knot> knots_;
};

}  // namespace dr::sim
