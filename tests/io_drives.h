#pragma once
// A drive that turns right, and writers of the layouts that the program only reads, by hand from their own conventions.

#include <cmath>

#include "io/image.h"
#include "io/log.h"
#include "io/npy.h"

namespace dr::test {

// Twelve seconds at 10 m/s on a curve of 40 m radius to the right, uphill by nothing: poses at 20 Hz, frames at 5 Hz.
inline DrivingLog right_turn() {
  DrivingLog log;
  log.kind = "test", log.where = "a right turn";
  log.camera = {6, 4, 5.5, 5.25, 2.5, 1.75, {{1.5, 0.1, -1.2}, {1, 0, 0, 0}}, 1.25};
  for (int i = 0; i < 240; i++) {
    const double turned = 0.05 * i * 10 / 40.0;
    log.times_s.push_back(0.05 * i);
    log.poses.push_back(pose_of_euler({40 * std::sin(turned), 40 * (1 - std::cos(turned)), 0}, {0, 0, turned}));
    log.actions.push_back({1 / 40.f, 0});
  }
  std::vector<uint8_t> pixels, labels;
  std::vector<float> depth;
  for (int i = 0; i < 60; i++) {
    log.frame_times_s.push_back(0.2 * i);
    for (int p = 0; p < 24; p++) {
      labels.push_back(uint8_t(p % 9));
      depth.push_back(float(p) * 0.5f);
      for (int c = 0; c < 3; c++) pixels.push_back(uint8_t(i + 3 * p + 50 * c));
    }
  }
  log.frames = HostArray::from(std::move(pixels), {60, 4, 6, 3});
  log.depth = HostArray::from(std::move(depth), {60, 4, 6});
  log.labels = HostArray::from(std::move(labels), {60, 4, 6});
  log.desire = HostArray::from(std::vector<uint8_t>(240, 0), {240});
  log.lane_offset = HostArray::from(std::vector<float>(240, 0.25f), {240});
  log.notes = {{"road", "a circle"}};
  return log;
}

// Writes the log in KITTI's conventions by hand: camera axes, poses relative to the first.
inline void write_kitti(const std::string& folder, const DrivingLog& log, int frames) {
  create_folder(folder + "/image_02");
  create_folder(folder + "/depth_02");
  write_file(folder + "/calib_small.txt", "fx 5.5\nfy 5.25\ncx 2.5\ncy 1.75\nwidth 6\nheight 4\n");
  std::string poses;
  for (int i = 0; i < frames; i++) {
    const Pose p = relative(log.poses[0], log.poses[size_t(4 * i)]);
    const Matrix3 r = matrix_of(p);
    constexpr size_t device_axis[] = {1, 2, 0};  // camera right, down, forward
    for (size_t a : device_axis) {
      for (size_t b : device_axis) poses += format("{:.9e} ", r[3 * a + b]);
      poses += format("{:.9e}", p.at[a]) + (a == 0 ? "\n" : " ");
    }
    Image image{6, 4, 3, {}};
    const uint8_t* pixels = log.frames.data<uint8_t>() + i * 72;
    image.pixels.assign(pixels, pixels + 72);
    write_png(format("{}/image_02/{:04}.png", folder, i), image);
    Image16 depth{6, 4, {}};
    for (int k = 0; k < 24; k++) depth.pixels.push_back(uint16_t(log.depth.data<float>()[k] * 256));
    write_png(format("{}/depth_02/{:04}.png", folder, i), depth);
  }
  write_file(folder + "/poses_cam02.txt", poses);
}

// Writes the poses as comma2k19 does, somewhere on the earth and turned by some rotation, at 10 m/s with the steering wheel
// 30 degrees to the right.
inline void write_comma2k19(const std::string& folder, const DrivingLog& log) {
  const Pose world = pose_of_euler({-2.7e6, -4.3e6, 3.85e6}, {0.4, -0.9, 2.2});
  create_folder(folder + "/global_pose");
  for (const char* signal : {"speed", "steering_angle"}) create_folder(folder + "/processed_log/CAN/" + signal);
  const int64_t n = int64_t(log.poses.size());
  std::vector<double> at, turn, velocity, speed(log.poses.size(), 10.0), wheel(log.poses.size(), -30.0);
  for (const Pose& p : log.poses) {
    const Pose e = world * p;
    at.insert(at.end(), e.at.begin(), e.at.end());
    turn.insert(turn.end(), e.turn.begin(), e.turn.end());
    Pose facing = e;
    facing.at = {};
    const Vec3 v = transform(facing, {10, 0, 0});
    velocity.insert(velocity.end(), v.begin(), v.end());
  }
  std::vector<double> times = log.times_s;
  auto save = [&](const std::string& name, std::vector<double>& v, const Sizes& sizes) {
    write_npy(folder + "/" + name, View(v.data(), DType::f64, sizes));
  };
  save("global_pose/frame_times", times, {n});
  save("global_pose/frame_positions", at, {n, 3});
  save("global_pose/frame_orientations", turn, {n, 4});
  save("global_pose/frame_velocities", velocity, {n, 3});
  save("processed_log/CAN/speed/t", times, {n});
  save("processed_log/CAN/speed/value", speed, {n, 1});
  save("processed_log/CAN/steering_angle/t", times, {n});
  save("processed_log/CAN/steering_angle/value", wheel, {n, 1});
}

}  // namespace dr::test
