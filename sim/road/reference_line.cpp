#include "sim/road/reference_line.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/check.h"

namespace dr::sim {

namespace {

// ds further along a stretch of linearly changing curvature. The position is Gauss and Legendre's three-point rule over
// the heading: for ds <= 1 m and |curvature| <= 1 its error is below 1e-8 m, less than the sine's.
LinePoint advance(const LinePoint& from, double rate, double ds) {
  auto heading = [&](double s) { return from.heading_rad + s * (from.curvature + 0.5 * rate * s); };
  constexpr double kNode = 0.7745966692414834;  // sqrt(3/5)
  const Vec2 sum = 5 * direction(heading(0.5 * ds * (1 - kNode))) + 8 * direction(heading(0.5 * ds)) +
                   5 * direction(heading(0.5 * ds * (1 + kNode)));
  return {from.at + (ds / 18) * sum, heading(ds), from.curvature + rate * ds};
}

}  // namespace

void ReferenceLine::append(double length_m, double from, double to) {
  CHECK(length_m > 0 && std::fabs(from) <= 1 && std::fabs(to) <= 1,
        "reference line: a part must be longer than 0 m and curve by at most 1/m, got {} m from {} to {} 1/m", length_m,
        from, to);
  const double rate = (to - from) / length_m;
  const int steps = std::max(1, int(std::ceil(length_m / kKnot)));
  const double begin = knots_.back().station_m, step = length_m / steps;
  for (int i = 0; i < steps; i++) {
    Knot& knot = knots_.back();
    knot.point.curvature = from + rate * (step * i);
    knot.curvature_rate = rate;
    const double end = i + 1 == steps ? begin + length_m : begin + step * (i + 1);
    const LinePoint next = advance(knot.point, rate, end - knot.station_m);
    knots_.push_back({end, next});
  }
}

size_t ReferenceLine::knot_before(double station_m) const {
  const auto after = std::upper_bound(knots_.begin() + 1, knots_.end(), station_m,
                                      [](double s, const Knot& k) { return s < k.station_m; });
  return size_t(after - knots_.begin()) - 1;
}

LinePoint ReferenceLine::at(double station_m) const {
  const Knot& k = knots_[knot_before(station_m)];
  const double ds = station_m - k.station_m;
  if (ds < 0 || &k == &knots_.back())
    return {k.point.at + ds * direction(k.point.heading_rad), k.point.heading_rad, 0};
  return advance(k.point, k.curvature_rate, ds);
}

LinePosition ReferenceLine::project(Vec2 p, double near_m) const {
  constexpr double kReach = 60;
  size_t best = knot_before(near_m);
  double least = 1e300;
  for (size_t i = knot_before(near_m - kReach); i < knots_.size() && knots_[i].station_m <= near_m + kReach; i++) {
    const Vec2 d = p - knots_[i].point.at;
    if (dot(d, d) < least) least = dot(d, d), best = i;
  }
  // Newton's steps on the distance along the tangent; the knot is within half a metre of the nearest point.
  double station = knots_[best].station_m, offset = 0;
  for (int i = 0; i < 4; i++) {
    const LinePoint q = at(station);
    const Vec2 t = direction(q.heading_rad), d = p - q.at;
    offset = dot(d, right_of(t));
    station += dot(d, t) / std::max(0.2, 1 - q.curvature * offset);
  }
  const LinePoint q = at(station);
  return {station, dot(p - q.at, right_of(direction(q.heading_rad)))};
}

}  // namespace dr::sim
