#include "io/log.h"

#include <algorithm>
#include <cmath>

namespace dr {

void check_times(std::span<const double> times, const std::string& where) {
  for (size_t i = 0; i < times.size(); i++) {
    CHECK(std::isfinite(times[i]), "{}: time {} is not finite", where, i);
    CHECK(i == 0 || times[i] > times[i - 1], "{}: times must increase, but time {} is {} s after {} s", where, i, times[i],
          times[i - 1]);
  }
}

void DrivingLog::check() const {
  check_times(times_s, where + ": times");
  check_times(frame_times_s, where + ": frame times");
  CHECK(poses.size() == times_s.size(), "{}: {} poses for {} times; one each is expected", where, poses.size(), times_s.size());
  CHECK(actions.empty() || actions.size() == poses.size(), "{}: {} actions for {} poses; one each is expected", where,
        actions.size(), poses.size());
  for (size_t i = 0; i < actions.size(); i++)
    CHECK(std::isfinite(actions[i][0]) && std::isfinite(actions[i][1]), "{}: action {} holds a NaN or an infinity", where, i);
  checked_poses(poses, where);
  const int64_t t = frame_count(), h = camera.height, w = camera.width, p = int64_t(poses.size());
  auto expect = [&](const HostArray& a, DType dtype, const Sizes& sizes, std::string_view name) {
    if (a) CHECK(a.view.dtype == dtype && a.view.sizes == sizes, "{}: {} must be {}{}, got {}", where, name, name_of(dtype),
                 to_string(sizes), to_string(a.view));
  };
  expect(frames, DType::u8, {t, h, w, 3}, "frames");
  expect(depth, DType::f32, {t, h, w}, "depth");
  expect(labels, DType::u8, {t, h, w}, "labels");
  expect(desire, DType::u8, {p}, "desire");
  expect(lane_offset, DType::f32, {p}, "lane_offset");
  if (frames) {
    for (double v : {camera.fx, camera.fy})
      CHECK(std::isfinite(v) && v > 0, "{}: focal lengths must be positive, got fx {} and fy {}", where, camera.fx, camera.fy);
    CHECK(std::isfinite(camera.cx) && std::isfinite(camera.cy), "{}: the principal point ({}, {}) is not finite", where,
          camera.cx, camera.cy);
    CHECK(std::isfinite(camera.height_m) && camera.height_m >= 0, "{}: a camera {} m above the road; accepted: 0 or more",
          where, camera.height_m);
  }
}

Pose DrivingLog::pose_at(double time_s) const {
  CHECK(!poses.empty(), "{}: the log has no poses", where);
  const size_t after = size_t(std::upper_bound(times_s.begin(), times_s.end(), time_s) - times_s.begin());
  if (after == 0) return poses.front();
  if (after == poses.size()) return poses.back();
  const Pose &a = poses[after - 1], &b = poses[after];
  const double w = (time_s - times_s[after - 1]) / (times_s[after] - times_s[after - 1]);
  if (w == 0) return a;
  Pose p;
  double same = 0, norm = 0;
  for (size_t i = 0; i < 4; i++) same += a.turn[i] * b.turn[i];
  for (size_t i = 0; i < 3; i++) p.at[i] = a.at[i] + w * (b.at[i] - a.at[i]);
  for (size_t i = 0; i < 4; i++) {
    p.turn[i] = (1 - w) * a.turn[i] + w * (same < 0 ? -b.turn[i] : b.turn[i]);
    norm += p.turn[i] * p.turn[i];
  }
  for (double& v : p.turn) v /= std::sqrt(norm);
  return p;
}

std::vector<double> interpolate(std::span<const double> times, std::span<const double> values, std::span<const double> wanted) {
  CHECK(times.size() == values.size() && !times.empty(), "{} values at {} times: one each, and at least one, is expected",
        values.size(), times.size());
  std::vector<double> out;
  for (double t : wanted) {
    const size_t after = size_t(std::upper_bound(times.begin(), times.end(), t) - times.begin());
    if (after == 0 || after == times.size()) out.push_back(after == 0 ? values.front() : values.back());
    else
      out.push_back(values[after - 1] + (t - times[after - 1]) / (times[after] - times[after - 1]) *
                                            (values[after] - values[after - 1]));
  }
  return out;
}

}  // namespace dr
