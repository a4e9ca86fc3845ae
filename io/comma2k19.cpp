#include "io/comma2k19.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numbers>

#include "io/npy.h"

namespace dr {

namespace {

// (rows, columns) or, for one column, (rows) or (rows, 1).
std::vector<double> table(const std::string& path, int64_t columns) {
  const StoredArray a = read_npy(path);
  const bool fits = columns == 1 ? a.shape.size() == 1 || (a.shape.size() == 2 && a.shape[1] == 1)
                                 : a.shape.size() == 2 && a.shape[1] == columns;
  CHECK(fits, "{}: shape (P{}) is expected, got {}", path, columns == 1 ? "" : format(",{}", columns), shape_text(a.shape));
  std::vector<double> v = a.values<double>();
  for (size_t i = 0; i < v.size(); i++) CHECK(std::isfinite(v[i]), "{}: row {} holds a NaN or an infinity", path, i / size_t(columns));
  return v;
}

// A CAN signal at the wanted times. Messages may repeat a time stamp; the last of them counts.
std::vector<double> can_signal(const std::string& folder, const std::vector<double>& wanted) {
  std::vector<double> t = table(folder + "/t", 1), v = table(folder + "/value", 1);
  CHECK(t.size() == v.size() && !t.empty(), "{}: {} times and {} values; one each, and at least one, is expected", folder,
        t.size(), v.size());
  size_t n = 0;
  for (size_t i = 0; i < t.size(); i++) {
    CHECK(i == 0 || t[i] >= t[i - 1], "{}: times must not decrease, but time {} does", folder, i);
    if (n > 0 && t[n - 1] == t[i]) n--;
    t[n] = t[i], v[n] = v[i], n++;
  }
  t.resize(n), v.resize(n);
  return interpolate(t, v, wanted);
}

}  // namespace

bool is_comma2k19(const std::string& folder) {
  std::error_code none;  // a folder that may not be looked into is no log
  return std::filesystem::exists(folder + "/global_pose/frame_positions", none);
}

Comma2k19Log read_comma2k19(const std::string& folder) {
  Comma2k19Log log;
  log.kind = "comma2k19";
  log.where = folder;
  const std::string pose = folder + "/global_pose/";
  log.times_s = table(pose + "frame_times", 1);
  check_times(log.times_s, pose + "frame_times");
  const std::vector<double> at = table(pose + "frame_positions", 3), turn = table(pose + "frame_orientations", 4),
                            velocity = table(pose + "frame_velocities", 3);
  const size_t n = log.times_s.size();
  for (const auto& [name, rows] : {std::pair{"frame_positions", at.size() / 3}, std::pair{"frame_orientations", turn.size() / 4},
                                   std::pair{"frame_velocities", velocity.size() / 3}})
    CHECK(rows == n, "{}{}: {} rows for {} times; one each is expected", pose, name, rows, n);
  for (size_t i = 0; i < n; i++)
    log.poses.push_back({{at[3 * i], at[3 * i + 1], at[3 * i + 2]}, {turn[4 * i], turn[4 * i + 1], turn[4 * i + 2], turn[4 * i + 3]}});
  log.poses = checked_poses(std::move(log.poses), pose + "frame_orientations");
  for (size_t i = 0; i < n; i++) {
    Pose back = inverse(log.poses[i]);
    back.at = {};
    log.velocity_mps.push_back(transform(back, {velocity[3 * i], velocity[3 * i + 1], velocity[3 * i + 2]}));
  }
  log.poses = from_first(std::move(log.poses));
  const std::string can = folder + "/processed_log/CAN/";
  if (std::filesystem::exists(can + "speed")) log.speed_mps = can_signal(can + "speed", log.times_s);
  if (std::filesystem::exists(can + "steering_angle"))
    for (double degrees : can_signal(can + "steering_angle", log.times_s))
      log.steering_wheel_rad.push_back(-degrees * (std::numbers::pi / 180));
  for (const Motion& m : motion_of(log.poses, log.times_s)) log.actions.push_back({float(m.curvature), float(m.acceleration_mps2)});
  if (std::filesystem::exists(folder + "/preview.png")) log.preview = read_image(folder + "/preview.png");
  log.check();
  return log;
}

}  // namespace dr
