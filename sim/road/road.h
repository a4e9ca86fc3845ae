#pragma once
// A road: lanes side by side along a reference line. Traffic keeps right; lanes are counted from the left edge, those of
// the oncoming traffic first, and the line between the two directions is the reference line.

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/ray_cast/ray_cast.h"
#include "sim/road/reference_line.h"

namespace dr::sim {

struct RoadMark {
  double offset_m;        // to the right of the reference line
  double half_width_m;
  LineStyle style;
};

struct Road {
  ReferenceLine line;
  int oncoming = 1, forward = 1;  // lanes of each direction
  double lane_width_m = 3.5, margin_m = 0.5, shoulder_m = 1.0;  // margin: asphalt outside the edge lines

  double left_edge_m() const { return -(oncoming * lane_width_m + margin_m); }
  double right_edge_m() const { return forward * lane_width_m + margin_m; }
  double half_width_m() const { return 0.5 * (right_edge_m() - left_edge_m()) + shoulder_m; }
  // The centre of forward lane 0 (the leftmost), 1, ...
  double lane_centre_m(int lane) const { return (lane + 0.5) * lane_width_m; }
  // The forward lane whose centre is nearest to a point this far right of the reference line.
  int nearest_lane(double offset_m) const { return std::clamp(int(offset_m / lane_width_m), 0, forward - 1); }
  std::vector<RoadMark> marks() const;
};

struct RoadStyle {
  double length_m = 1200;
  double straight_min_m = 40, straight_max_m = 80;
  double radius_min_m = 25, radius_max_m = 60;
  double turn_min_rad = 45 * kPi / 180, turn_max_rad = 135 * kPi / 180;
  double transition_s = 1.5;   // a clothoid's length is this times the speed that a curve is driven at
  int lanes_max = 3;           // of the forward direction
};

// A road from blocks of a straight and a curve with clothoids at both ends, a pure function of (style, seed). It does
// not come near itself: blocks that would are made again. Throws where that fails 1000 times.
// Source: the block road generator of MetaDrive (Li et al. 2021, arXiv:2109.12674), whose straights and curves these are.
Road make_road(const RoadStyle& style, uint64_t seed);

// The fastest that a curve is driven at, m/s: lateral acceleration 2.5 m/s^2, at most `limit_mps`.
double curve_speed_mps(double curvature, double limit_mps);

}  // namespace dr::sim
