#include "train/world_ruler.h"

#include <cmath>

#include "train/dataset.h"
#include "train/pose_frames.h"

namespace dr {

namespace {

std::vector<PoseReading> readings(Runtime& runtime, const PoseNetwork& network, const Films& films, size_t film) {
  return read_poses(runtime, network, runtime.from(films.list[film], {films.frames, films.height, films.width, 3}));
}

}  // namespace

MotionErrors motion_errors(Runtime& runtime, const PoseNetwork& network, const Films& films,
                           const std::vector<RolloutStart>& starts) {
  MotionErrors e;
  for (size_t f = 0; f < films.list.size(); f++) {
    const std::vector<PoseReading> read = readings(runtime, network, films, f);
    for (int64_t i = 1; i < films.frames; i++) {
      const int64_t index = starts[f].context + i;
      const Pose moved = relative(starts[f].pose(index - 1), starts[f].pose(index));
      e.speed_mae_mps += std::fabs(read[size_t(i)].speed_mps - moved.at[0] / kFrameS);
      e.yaw_rate_mae_rad_s += std::fabs(read[size_t(i)].yaw_rate_rad_s - euler_of(moved)[2] / kFrameS);
    }
  }
  const double n = double(films.list.size()) * double(films.frames - 1);
  return {e.speed_mae_mps / n, e.yaw_rate_mae_rad_s / n};
}

MeasuredDeviation measured_deviation(Runtime& runtime, const PoseNetwork& network, const Films& moved,
                                     const Films& reference, size_t frames) {
  MeasuredDeviation d{std::vector<double>(size_t(moved.frames)), 0};
  const double n = double(moved.list.size());
  for (size_t f = 0; f < moved.list.size(); f++) {
    const std::vector<PoseReading> a = readings(runtime, network, moved, f),
                                   b = readings(runtime, network, reference, f);
    for (size_t i = 0; i < d.curve_m.size(); i++)
      d.curve_m[i] += lane_deviation_m(std::span(a).subspan(i, 1), std::span(b).subspan(i, 1), 1) / n;
    d.last_m += lane_deviation_m(a, b, frames) / n;
  }
  return d;
}

double slope_on_true_renders(const PoseMeasure& ruler, int64_t drives, double seconds, uint64_t seed) {
  Runtime& runtime = ruler.runtime;
  const PoseNetwork& network = *ruler.network;
  double xy = 0, xx = 0;
  for (int64_t d = 0; d < drives; d++) {
    sim::DriveSettings settings;
    settings.seed = drive_seed(seed, uint64_t(d)), settings.seconds = seconds;
    settings.camera = sim::Camera::named(ruler.camera).resized(int(network.options().width), int(network.options().height));
    const sim::Drive drive(settings);
    const auto seen = [&](double right_m) { return render_pose_frames(runtime, drive, moved_track(drive, right_m)); };
    const auto read = [&](const PoseFrames& f) {
      return read_poses(runtime, network, runtime.from(f.rgb, {f.count(), f.height, f.width, 3}));
    };
    const PoseFrames driven = seen(0);
    const std::vector<PoseReading> as_driven = read(driven);
    for (double right_m : {-0.5, 0.5}) {
      const PoseFrames moved = seen(right_m);
      const std::vector<PoseReading> as_moved = read(moved);
      for (size_t i = 1; i < as_moved.size(); i++) {
        if (moved.place[i].between || driven.place[i].between || moved.place[i].lane != driven.place[i].lane) continue;
        const double x = moved.place[i].offset_m - driven.place[i].offset_m;
        xy += x * (as_moved[i].lane_offset_m - as_driven[i].lane_offset_m), xx += x * x;
      }
    }
  }
  CHECK(xx > 0, "pose network: no frame of {} drives stands in the same lane when it is moved aside", drives);
  return xy / xx;
}

}  // namespace dr
