#pragma once
// The kinematic vehicle model: a point that follows the curvature and the acceleration it is given.
//   v' = max(v + a dt, 0)   d = (v + v')/2 dt   dpsi = d k   moved by d along the heading at the middle of the step
// Forward: actions to poses. Inverse: two poses to the action between them.
// Source: Goff et al. 2025, arXiv:2504.19077, section 2.3, the kinematic case.

#include "sim/geometry.h"

namespace dr::sim {

struct VehicleState {
  Vec2 at;
  double heading_rad = 0;  // never wrapped
  double speed_mps = 0;
};

struct Action {
  double curvature = 0;          // 1/m, positive to the right
  double acceleration_mps2 = 0;
};

// One step of dt_s; the curvature is limited to |k| <= 0.2.
VehicleState step(const VehicleState& state, const Action& action, double dt_s);

// The action that leads from one state to the next; curvature 0 where the vehicle moves less than a millimetre.
Action action_between(const VehicleState& from, const VehicleState& to, double dt_s);

// The vehicle elsewhere at the same moment: moved to its right, then turned to the right where it stands.
VehicleState displaced(const VehicleState& state, double right_m, double turn_rad);

// From one state to another, in the axes of the first.
struct Motion {
  double forward_m = 0, right_m = 0, yaw_rad = 0;
};
Motion motion_between(const VehicleState& from, const VehicleState& to);

}  // namespace dr::sim
