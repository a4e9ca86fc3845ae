#include "sim/vehicle/kinematic.h"

#include <algorithm>

namespace dr::sim {

VehicleState step(const VehicleState& s, const Action& action, double dt_s) {
  const double curvature = std::clamp(action.curvature, -0.2, 0.2);
  const double speed = std::max(s.speed_mps + action.acceleration_mps2 * dt_s, 0.0);
  const double distance = 0.5 * (s.speed_mps + speed) * dt_s, turn = distance * curvature;
  return {s.at + distance * direction(s.heading_rad + 0.5 * turn), s.heading_rad + turn, speed};
}

Action action_between(const VehicleState& from, const VehicleState& to, double dt_s) {
  const double distance = dot(to.at - from.at, direction(0.5 * (from.heading_rad + to.heading_rad)));
  return {distance < 1e-3 ? 0 : (to.heading_rad - from.heading_rad) / distance,
          (to.speed_mps - from.speed_mps) / dt_s};
}

VehicleState displaced(const VehicleState& s, double right_m, double turn_rad) {
  return {s.at + right_m * right_of(direction(s.heading_rad)), s.heading_rad + turn_rad, s.speed_mps};
}

Motion motion_between(const VehicleState& from, const VehicleState& to) {
  const Vec2 forward = direction(from.heading_rad), d = to.at - from.at;
  return {dot(d, forward), dot(d, right_of(forward)), to.heading_rad - from.heading_rad};
}

}  // namespace dr::sim
