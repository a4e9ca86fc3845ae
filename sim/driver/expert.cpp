#include "sim/driver/expert.h"

#include <algorithm>
#include <cmath>

namespace dr::sim {

namespace {

constexpr double kComfortBrake = 1.5;  // m/s^2, what a driver plans with
constexpr double kMarginS = 0.7;      // how long before a curve its speed is reached
constexpr double kSpeedGain = 1.5;     // 1/s
constexpr double kFrequency = 0.9;     // rad/s at which an offset from the lane's centre is steered back
constexpr double kDamping = 0.9;
constexpr double kJerk = 5, kSideAcceleration = 3;  // m/s^3, m/s^2

// x' of a first-order process with that standard deviation and correlation time.
double wander(double x, double deviation, double time_s, double dt_s, double normal) {
  const double keep = canonical::exp(float(-dt_s / time_s));
  return keep * x + deviation * std::sqrt(std::max(0.0, 1 - keep * keep)) * normal;
}

// From 0 to 1 in t = 0 to 1 with no velocity or acceleration at either end (minimum jerk), and its two derivatives.
struct SmoothStep {
  double value, rate, acceleration;
  explicit SmoothStep(double t)
      : value(t * t * t * (10 - 15 * t + 6 * t * t)),
        rate(30 * t * t * (1 - t) * (1 - t)),
        acceleration(60 * t * (1 - t) * (1 - 2 * t)) {}
};

}  // namespace

Expert::Expert(const Road& road, const ExpertSettings& settings, uint64_t seed, int lane)
    : road_(&road),
      settings_(settings),
      wander_random_(seed, RandomUse::wander),
      action_random_(seed, RandomUse::actions),
      lane_(lane),
      lane_before_(lane) {
  wander_ = settings.wander_m * wander_random_.normal();
}

void Expert::start_at(double station_m) {
  position_ = {station_m, road_->lane_centre_m(lane_)};
  const double k = road_->line.at(station_m).curvature;
  done_.curvature = k / (1 - k * position_.offset_m);
}

bool Expert::ask(Desire desire) {
  const int lane = lane_ + (desire == Desire::change_right) - (desire == Desire::change_left);
  if (lane == lane_ || changing() || lane < 0 || lane >= road_->forward) return false;
  lane_before_ = lane_;
  lane_ = lane;
  change_left_s_ = settings_.lane_change_s;
  return true;
}

Action Expert::act(const VehicleState& state, double dt_s) {
  position_ = road_->line.project(state.at, position_.station_m + state.speed_mps * dt_s);
  const double speed = std::max(state.speed_mps, 3.0);

  // Sideways: a damped pull towards where the driver wants to be, on top of the road's own curvature, read ahead by the
  // lag that comes after.
  wander_ = wander(wander_, settings_.wander_m, settings_.wander_s, dt_s, wander_random_.normal());
  curvature_error_ = wander(curvature_error_, settings_.curvature_error, 0.5, dt_s, action_random_.normal());
  const double whole = settings_.lane_change_s;
  const SmoothStep change(1 - change_left_s_ / whole);
  change_left_s_ = std::max(0.0, change_left_s_ - dt_s);
  const double before = road_->lane_centre_m(lane_before_), across = road_->lane_centre_m(lane_) - before;
  const double wanted = before + change.value * across;
  const double error = position_.offset_m - wanted - wander_;
  const LinePoint here = road_->line.at(position_.station_m),
                  ahead = road_->line.at(position_.station_m + speed * (settings_.lag_s + 0.5 * dt_s));
  const double turned = state.heading_rad - here.heading_rad - change.rate * across / whole / speed;
  double curvature = ahead.curvature / (1 - ahead.curvature * position_.offset_m) +
                     change.acceleration * across / (whole * whole) / (speed * speed) -
                     kFrequency * kFrequency / (speed * speed) * error - 2 * kDamping * kFrequency / speed * turned;
  const double most = std::min(0.2, kSideAcceleration / (speed * speed));
  curvature = std::clamp(curvature, -most, most) + curvature_error_;

  // Along: as fast as the limit and the curves ahead allow when braking gently.
  double allowed = settings_.limit_mps;
  for (double ds = 0; ds <= 90; ds += 3) {
    const double k = road_->line.at(position_.station_m + ds).curvature;
    const double curve = curve_speed_mps(k / (1 - k * wanted), settings_.limit_mps);  // of the lane, not of the line
    const double room = std::max(0.0, ds - kMarginS * speed);
    allowed = std::min(allowed, std::sqrt(curve * curve + 2 * kComfortBrake * room));
  }
  acceleration_error_ = wander(acceleration_error_, settings_.acceleration_error_mps2, 1, dt_s, action_random_.normal());
  const double acceleration = std::clamp(kSpeedGain * (allowed - state.speed_mps), -3.0, 1.5) + acceleration_error_;

  const double follow = settings_.lag_s > 0 ? 1 - canonical::exp(float(-dt_s / settings_.lag_s)) : 1;
  const double jerk = kJerk * dt_s / (speed * speed);
  done_ = {done_.curvature + std::clamp(follow * (curvature - done_.curvature), -jerk, jerk), done_.acceleration_mps2 + follow * (acceleration - done_.acceleration_mps2)};
  return done_;
}

}  // namespace dr::sim
