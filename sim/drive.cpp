#include "sim/drive.h"

namespace dr::sim {

namespace {

constexpr double kMargin = 150;  // m of road behind the start and beyond the end, so that no image shows where it ends

Scene scene_of(const DriveSettings& s, double limit_mps) {
  RoadStyle style;
  style.length_m = s.segments * kSegmentSteps * kStepS * limit_mps + 2 * kMargin;
  // A quarter of the drives are on wider curves, taken faster.
  if (Random(s.seed, RandomUse::schedule, 1).chance(0.25)) style.radius_min_m = 60, style.radius_max_m = 250, style.turn_max_rad = kPi / 2;
  return make_scene(make_road(style, s.seed), s.seed);
}

}  // namespace

Drive::Drive(const DriveSettings& settings) : settings_(settings) {
  CHECK(settings.segments > 0 && settings.segments <= 60, "a drive has 1 to 60 segments (minutes), got {}", settings.segments);
  Random schedule(settings.seed, RandomUse::schedule);
  ExpertSettings expert;
  expert.limit_mps = schedule.uniform(11, 17);
  if (!settings.with_noise) expert = expert.without_noise();
  scene_ = scene_of(settings, expert.limit_mps);
  const Road& road = scene_.road;
  const int lane = schedule.integer(0, road.forward - 1);
  Expert driver(road, expert, settings.seed, lane);

  const LinePoint start = road.line.at(kMargin);
  VehicleState state{start.at + road.lane_centre_m(lane) * right_of(direction(start.heading_rad)), start.heading_rad,
                     curve_speed_mps(start.curvature, 0.7 * expert.limit_mps)};
  driver.start_at(kMargin);
  double next_change_s = schedule.uniform(0.3, 1.2) * settings.lane_change_period_s;
  const int steps = settings.segments * kSegmentSteps;
  for (int i = 0; i < steps; i++) {
    Desire desire = Desire::keep;
    if (settings.lane_change_period_s > 0 && road.forward > 1 && i * kStepS >= next_change_s) {
      next_change_s += schedule.uniform(0.5, 1.5) * settings.lane_change_period_s;
      const Desire first = schedule.chance(0.5) ? Desire::change_left : Desire::change_right;
      const Desire other = first == Desire::change_left ? Desire::change_right : Desire::change_left;
      desire = driver.ask(first) ? first : driver.ask(other) ? other : Desire::keep;
    }
    const Action action = driver.act(state, kStepS);
    log_.states.push_back(state);
    log_.actions.push_back(action);
    log_.desires.push_back(desire);
    log_.lane_offset_m.push_back(float(driver.lane_offset_m()));
    log_.lane.push_back(driver.lane());
    state = step(state, action, kStepS);
  }
}

SceneTables::Images Drive::render(Runtime& runtime, int first, int count) const {
  CHECK(first >= 0 && count > 0 && first + count <= frames(), "frames {} to {} of {} were asked for", first, first + count,
        frames());
  if (!tables_) tables_.emplace(runtime, std::vector<const Scene*>{&scene_});
  std::vector<float> cameras;
  for (int i = first; i < first + count; i++)
    for (float v : settings_.camera.row(log_.states[size_t(i) * kStepsPerFrame])) cameras.push_back(v);
  return tables_->render(runtime, settings_.camera.height, settings_.camera.width, cameras, std::vector<int32_t>(size_t(count), 0));
}

}  // namespace dr::sim
