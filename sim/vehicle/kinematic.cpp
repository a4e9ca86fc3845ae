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

}  // namespace dr::sim
