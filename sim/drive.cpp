#include "sim/drive.h"

#include <algorithm>
#include <cmath>

namespace dr::sim {

namespace {

constexpr double kMargin = 150;  // m of road behind the start and beyond the end, so that no image shows where it ends

Scene scene_of(const DriveSettings& s, double limit_mps) {
  RoadStyle style;
  style.length_m = s.seconds * limit_mps + 2 * kMargin;
  // A quarter of the drives are on wider curves, taken faster.
  if (Random(s.seed, RandomUse::schedule, 1).chance(0.25)) style.radius_min_m = 60, style.radius_max_m = 250, style.turn_max_rad = kPi / 2;
  return make_scene(make_road(style, s.seed), s.seed);
}

}  // namespace

Drive::Drive(const DriveSettings& settings) : settings_(settings) {
  CHECK(settings.seconds >= kStepS * kStepsPerFrame && settings.seconds <= 3600, "a drive lasts 0.2 s to an hour, got {} s",
        settings.seconds);
  Random schedule(settings.seed, RandomUse::schedule);
  ExpertSettings expert;
  expert.limit_mps = schedule.uniform(11, 17);
  expert.wander_m = settings.wander_m;
  expert.curvature_error = settings.steering_error;
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
  const int steps = int(settings.seconds / (kStepS * kStepsPerFrame) + 1e-6) * kStepsPerFrame;
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
    log_.station_m.push_back(driver.position().station_m);
    state = step(state, action, kStepS);
  }
}

SceneTables::Images Drive::render(Runtime& runtime, int first, int count) const {
  CHECK(first >= 0 && count > 0 && first + count <= frames(), "frames {} to {} of {} were asked for", first, first + count,
        frames());
  std::vector<VehicleState> states;
  for (int i = first; i < first + count; i++) states.push_back(state_at_frame(i));
  return render(runtime, states);
}

SceneTables::Images Drive::render(Runtime& runtime, std::span<const VehicleState> states) const {
  if (!tables_) tables_.emplace(runtime, std::vector<const Scene*>{&scene_});
  std::vector<float> cameras;
  for (const VehicleState& s : states)
    for (float v : settings_.camera.row(s)) cameras.push_back(v);
  return tables_->render(runtime, settings_.camera.height, settings_.camera.width, cameras,
                         std::vector<int32_t>(states.size(), 0));
}

LanePlace Drive::place(const VehicleState& state, int i) const {
  CHECK(i >= 0 && i < frames(), "frame {} of {} was asked for", i, frames());
  const Road& road = scene_.road;
  const LinePosition p = road.line.project(state.at, log_.station_m[size_t(i) * kStepsPerFrame]);
  LanePlace place;
  place.lane = road.nearest_lane(p.offset_m);
  place.offset_m = p.offset_m - road.lane_centre_m(place.lane);
  place.heading_rad = state.heading_rad - road.line.at(p.station_m).heading_rad;
  const bool neighbour = place.offset_m < 0 ? place.lane > 0 : place.lane + 1 < road.forward;
  place.between = neighbour && std::fabs(place.offset_m) > 0.5 * road.lane_width_m - 0.2;
  return place;
}

DrivingLog Drive::segment(Runtime& runtime, int index, bool depth, bool labels) const {
  CHECK(index >= 0 && index < segments(), "segment {} of {} was asked for", index, segments());
  const int first = index * kSegmentFrames, count = std::min(kSegmentFrames, frames() - first);
  const Camera& c = settings_.camera;
  DrivingLog log;
  log.kind = "built-in";
  log.where = format("built-in world, seed {}, minute {}", settings_.seed, index);
  log.camera = {c.width, c.height, c.fx, c.fy, c.cx, c.cy, {{c.forward_m, 0, -c.height_m}, {1, 0, 0, 0}}, c.height_m};
  for (int i = first; i < first + count; i++) log.frame_times_s.push_back(i * kStepsPerFrame * kStepS);
  std::vector<uint8_t> desire;
  std::vector<float> offset;
  for (int i = first * kStepsPerFrame; i < (first + count) * kStepsPerFrame; i++) {
    const VehicleState& s = log_.states[size_t(i)];
    log.times_s.push_back(i * kStepS);
    log.poses.push_back(pose_of_euler({s.at.x, s.at.y, 0}, {0, 0, s.heading_rad}));
    const Action& a = log_.actions[size_t(i)];
    log.actions.push_back({float(a.curvature), float(a.acceleration_mps2)});
    desire.push_back(uint8_t(log_.desires[size_t(i)]));
    offset.push_back(log_.lane_offset_m[size_t(i)]);
  }
  const int64_t steps = int64_t(desire.size());
  log.desire = HostArray::from(std::move(desire), {steps});
  log.lane_offset = HostArray::from(std::move(offset), {steps});

  // In batches, so that images on their way need little memory beside the segment's own.
  constexpr int kBatch = 32;
  const int64_t h = c.height, w = c.width;
  std::vector<uint8_t> rgb, label;
  std::vector<float> metres;
  rgb.reserve(size_t(count * h * w * 3));
  for (int i = 0; i < count; i += kBatch) {
    const SceneTables::Images images = render(runtime, first + i, std::min(kBatch, count - i));
    auto append = [](auto& to, const Tensor& t) {
      using T = typename std::remove_reference_t<decltype(to)>::value_type;
      const std::vector<T> v = t.to_vector<T>();
      to.insert(to.end(), v.begin(), v.end());
    };
    append(rgb, images.rgb);
    if (depth) append(metres, images.depth);
    if (labels) append(label, images.label);
  }
  log.frames = HostArray::from(std::move(rgb), {count, h, w, 3});
  if (depth) log.depth = HostArray::from(std::move(metres), {count, h, w});
  if (labels) log.labels = HostArray::from(std::move(label), {count, h, w});
  log.notes = {{"seed", std::to_string(settings_.seed)}, {"minute", std::to_string(index)},
               {"lane_width_m", format("{}", scene_.road.lane_width_m)}};
  return log;
}

}  // namespace dr::sim
