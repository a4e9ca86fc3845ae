#pragma once
// The expert driver: keeps its lane as people do, with a slow wander, a lag and small errors, brakes before curves, and
// changes lanes on command. Everything is a pure function of (settings, seed) and the road.

#include "sim/random.h"
#include "sim/road/road.h"
#include "sim/vehicle/kinematic.h"

namespace dr::sim {

struct ExpertSettings {
  double limit_mps = 15;            // desired speed on a straight
  // Lane position is a process of this standard deviation and correlation time. Drivers' standard deviation of lateral
  // position is about 0.2 m: Verster & Roth 2011, "Standard operation procedures for conducting the on-the-road driving
  // test", Int. J. of General Medicine 4, table 1 (18 to 20 cm for sober drivers).
  double wander_m = 0.2, wander_s = 8;
  double curvature_error = 4e-4;    // 1/m, standard deviation of the hand on the wheel, correlated over 0.5 s
  double acceleration_error_mps2 = 0.1;
  double lag_s = 0.2;               // from what the driver wants to what the vehicle does
  double lane_change_s = 5;

  ExpertSettings without_noise() const {
    ExpertSettings s = *this;
    s.wander_m = s.curvature_error = s.acceleration_error_mps2 = 0;
    return s;
  }
};

// What the driver is asked for: the policy's desire input.
enum class Desire : uint8_t { keep, change_left, change_right };

class Expert {
 public:
  Expert(const Road& road, const ExpertSettings& settings, uint64_t seed, int lane);

  // The vehicle starts in its lane at this station, steering as the road does there.
  void start_at(double station_m);
  // Starts a lane change unless one is under way or there is no such lane; says whether it does.
  bool ask(Desire desire);
  // The action for the next dt_s; call once per step.
  Action act(const VehicleState& state, double dt_s);

  const LinePosition& position() const { return position_; }  // of the last act
  int lane() const { return lane_; }                          // the one that is driven, or changed to
  bool changing() const { return change_left_s_ > 0; }
  // Of the vehicle at the last act, to the right of the lane's centre.
  double lane_offset_m() const { return position_.offset_m - road_->lane_centre_m(lane_); }

 private:
  const Road* road_;
  ExpertSettings settings_;
  Random wander_random_, action_random_;
  LinePosition position_;
  int lane_, lane_before_;
  double change_left_s_ = 0;
  double wander_ = 0, curvature_error_ = 0, acceleration_error_ = 0;
  Action done_;
};

}  // namespace dr::sim
