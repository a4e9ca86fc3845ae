#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "io/comma2k19.h"
#include "io/kitti.h"
#include "io/npy.h"
#include "io/segment.h"
#include "sim/vehicle/kinematic.h"
#include "tests/io_drives.h"
#include "tests/io_files.h"

namespace dr {
namespace {

using test::error_of;
using test::Folder;
using test::holds;
using test::right_turn;
using test::write_kitti;

TEST(Pose, RightIsPositive) {
  const Pose right = pose_of_euler({}, {0, 0, 0.5});
  const Vec3 ahead = transform(right, {1, 0, 0});
  EXPECT_NEAR(ahead[0], std::cos(0.5), 1e-7);
  EXPECT_NEAR(ahead[1], std::sin(0.5), 1e-7) << "y is to the right";
  const Vec3 up = transform(pose_of_euler({}, {0, 0.5, 0}), {1, 0, 0});
  EXPECT_NEAR(up[2], -std::sin(0.5), 1e-7) << "z is down";
}

TEST(Pose, EulerMatrixAndQuaternionAgree) {
  for (double roll : {-2.0, 0.1, 3.0})
    for (double pitch : {-1.2, 0.0, 0.7})
      for (double yaw : {-3.1, -0.4, 1.0, 2.9}) {
        const Pose p = pose_of_euler({1, 2, 3}, {roll, pitch, yaw});
        const Vec3 e = euler_of(p);
        EXPECT_NEAR(e[0], roll, 1e-6);
        EXPECT_NEAR(e[1], pitch, 1e-6);
        EXPECT_NEAR(e[2], yaw, 1e-6);
        const Pose q = pose_of(matrix_of(p), p.at), unit = p * inverse(p);
        for (size_t i = 0; i < 4; i++) {
          EXPECT_NEAR(q.turn[i], p.turn[i], 1e-14);
          EXPECT_NEAR(unit.turn[i], i == 0, 1e-14);
        }
        for (double v : unit.at) EXPECT_NEAR(v, 0, 1e-14);
      }
}

TEST(Pose, MotionOfARightTurn) {
  const DrivingLog log = right_turn();
  const std::vector<Motion> motion = motion_of(log.poses, log.times_s);
  ASSERT_EQ(motion.size(), log.poses.size());
  for (const Motion& m : motion) {
    EXPECT_NEAR(m.curvature, 1 / 40.0, 1e-5);
    EXPECT_NEAR(m.acceleration_mps2, 0, 1e-3);
  }
}

TEST(Segment, ComesBackAsItWasWritten) {
  Folder folder;
  const DrivingLog log = right_turn();
  write_segment(folder.file("a.safetensors"), log);
  const DrivingLog back = read_segment(folder.file("a.safetensors"));
  EXPECT_EQ(back.kind, "test");
  EXPECT_EQ(back.times_s, log.times_s);
  EXPECT_EQ(back.frame_times_s, log.frame_times_s);
  EXPECT_EQ(back.poses, log.poses);
  EXPECT_EQ(back.actions, log.actions);
  EXPECT_EQ(back.notes, log.notes);
  EXPECT_EQ(back.camera.mount, log.camera.mount);
  for (auto member : {&CameraModel::fx, &CameraModel::fy, &CameraModel::cx, &CameraModel::cy, &CameraModel::height_m})
    EXPECT_EQ(back.camera.*member, log.camera.*member);
  for (auto member : {&DrivingLog::frames, &DrivingLog::depth, &DrivingLog::labels, &DrivingLog::desire, &DrivingLog::lane_offset}) {
    ASSERT_EQ((back.*member).view.sizes, (log.*member).view.sizes);
    EXPECT_EQ(std::memcmp((back.*member).view.data, (log.*member).view.data, (log.*member).view.bytes()), 0);
  }
  EXPECT_GT(euler_of(back.poses[40])[2], 0.4) << "still to the right";
}

TEST(Segment, RefusesBrokenOnes) {
  Folder folder;
  const std::string path = folder.file("a.safetensors");
  auto writing = [&](auto change) {
    DrivingLog log = right_turn();
    change(log);
    return error_of([&] { write_segment(path, log); });
  };
  EXPECT_TRUE(holds(writing([](DrivingLog& l) { l.poses[7].at[1] = std::nan(""); }), "pose 7 holds a NaN"));
  EXPECT_TRUE(holds(writing([](DrivingLog& l) { l.poses.pop_back(); }), "239 poses for 240 times"));
  EXPECT_TRUE(holds(writing([](DrivingLog& l) { l.poses[3].turn = {2, 0, 0, 0}; }), "quaternion of pose 3 has length 2"));
  EXPECT_TRUE(holds(writing([](DrivingLog& l) { l.times_s[9] = l.times_s[8]; }), "times must increase"));
  EXPECT_TRUE(holds(writing([](DrivingLog& l) { l.actions[5][0] = INFINITY; }), "action 5"));
  EXPECT_TRUE(holds(writing([](DrivingLog& l) { l.frame_times_s.pop_back(); }), "frames must be u8(59,4,6,3)"));
  EXPECT_TRUE(holds(writing([](DrivingLog& l) { l.camera.fx = 0; }), "focal lengths"));
  EXPECT_TRUE(holds(writing([](DrivingLog& l) { l.camera.height_m = -1; }), "a camera -1 m above the road"));
  EXPECT_TRUE(holds(writing([](DrivingLog& l) { l.notes = {{"fx", "1"}}; }), "'fx'"));
  EXPECT_TRUE(folder.names().empty()) << "nothing was written";

  write_npy(folder.file("b.npy"), right_turn().frames.view);
  EXPECT_TRUE(holds(error_of([&] { read_segment(folder.file("b.npy")); }), "b.npy"));
  const std::vector<float> one{1};
  const NamedView array{"x", View(const_cast<float*>(one.data()), DType::f32, {1})};
  write_safetensors(folder.file("c.safetensors"), std::span(&array, 1), {});
  EXPECT_TRUE(holds(error_of([&] { read_segment(folder.file("c.safetensors")); }), "not a segment"));
  write_safetensors(folder.file("d.safetensors"), std::span(&array, 1), {{"format", "dreamroad segment 2"}});
  EXPECT_TRUE(holds(error_of([&] { read_segment(folder.file("d.safetensors")); }), "dreamroad segment 1"));
}

// ---- KITTI ----

TEST(Kitti, ARightTurnTurnsRight) {
  Folder folder;
  const DrivingLog log = right_turn();
  write_kitti(folder.path(), log, 12);
  ASSERT_TRUE(is_kitti(folder.path()));
  const KittiLog back = read_kitti(folder.path());
  ASSERT_EQ(back.frame_count(), 12);
  for (size_t i = 0; i < 12; i++) {
    for (size_t k = 0; k < 3; k++) EXPECT_NEAR(back.poses[i].at[k], log.poses[4 * i].at[k], 1e-6);
    EXPECT_NEAR(euler_of(back.poses[i])[2], euler_of(log.poses[4 * i])[2], 1e-6);
    EXPECT_NEAR(back.actions[i][0], 1 / 40.0, 1e-4) << "from the poses, since there is no ego.csv";
  }
  EXPECT_EQ(std::memcmp(back.frames.view.data, log.frames.view.data, 12 * 72), 0);
  EXPECT_EQ(std::memcmp(back.depth.view.data, log.depth.view.data, 24 * 4), 0);

  folder.write("ego.csv", "frame,unix_time_s,vel_fwd_mps,acc_fwd_mps2,yaw\n" + [] {
    std::string rows;
    for (int i = 0; i < 12; i++) rows += format("{},{},10,0.5,{}\n", i, 1000 + 0.2 * i, -0.25 * 180 / 3.14159265);
    return rows;
  }());
  const KittiLog with_ego = read_kitti(folder.path());
  EXPECT_NEAR(with_ego.yaw_rate_radps[3], 0.25, 1e-6) << "the file's is positive to the left";
  EXPECT_NEAR(with_ego.actions[3][0], 1 / 40.0, 1e-6);
  EXPECT_NEAR(with_ego.times_s[11], 2.2, 1e-6);

  // A camera half a metre to the right: points lie that much further left in its axes.
  create_folder(folder.file("image_03"));
  std::filesystem::copy(folder.file("image_02/0000.png"), folder.file("image_03/0000.png"));
  folder.write("calib_small.txt", folder.read("calib_small.txt") + "T_cam03_from_cam02 t = -0.5 0 0.01 (R = I)\n");
  const KittiLog stereo = read_kitti(folder.path());
  EXPECT_EQ(stereo.right_from_left, (Vec3{-0.5, 0, 0.01}));
  ASSERT_EQ(stereo.right_frames.view.sizes, (Sizes{1, 4, 6, 3}));
  EXPECT_EQ(std::memcmp(stereo.right_frames.view.data, log.frames.view.data, 72), 0);
}

TEST(Kitti, RefusesBrokenFolders) {
  Folder folder;
  write_kitti(folder.path(), right_turn(), 3);
  const std::string poses = folder.read("poses_cam02.txt");
  auto reading = [&] { return error_of([&] { read_kitti(folder.path()); }); };
  folder.write("poses_cam02.txt", poses.substr(0, poses.find('\n') + 1));
  EXPECT_TRUE(holds(reading(), "3 frames in image_02, but 1 poses"));
  folder.write("poses_cam02.txt", poses.substr(0, poses.rfind(' ')) + "\n");
  EXPECT_TRUE(holds(reading(), "line 3: 12 numbers"));
  std::string broken = poses;
  broken.replace(0, 4, "nan ");
  folder.write("poses_cam02.txt", broken);
  EXPECT_TRUE(holds(reading(), "line 1"));
  folder.write("poses_cam02.txt", "2 0 0 0 0 1 0 0 0 0 1 0\n" + poses.substr(poses.find('\n') + 1));
  EXPECT_TRUE(holds(reading(), "determinant 2"));
  folder.write("poses_cam02.txt", poses);
  folder.write("calib_small.txt", "fx 5.5\nfy 5.25\ncx 2.5\nwidth 6\nheight 4\n");
  EXPECT_TRUE(holds(reading(), "no line 'cy NUMBER'"));
  folder.write("calib_small.txt", "fx 5.5\nfy 5.25\ncx 2.5\ncy 1\nwidth 7\nheight 4\n");
  EXPECT_TRUE(holds(reading(), "6 x 4 pixels; the calibration says 7 x 4"));
  folder.write("calib_more.txt", "");
  EXPECT_TRUE(holds(reading(), "2 files are called calib*.txt"));
}

TEST(OpenLog, TellsTheKindByWhatIsThere) {
  Folder folder;
  write_segment(folder.file("no_ending"), right_turn());
  EXPECT_EQ(open_log(folder.file("no_ending")).kind, "test");
  auto opening = [&](const std::string& path) { return error_of([&] { open_log(path); }); };
  EXPECT_TRUE(holds(opening(folder.path()), "no driving log; accepted: a segment file"));
  EXPECT_TRUE(holds(opening(folder.write("text", "speed 10\n")), "text: no driving log; accepted: a segment file"));
  EXPECT_TRUE(holds(opening(folder.file("none")), "none: there is no such file or folder"));
  test::write_kitti(folder.path(), right_turn(), 3);
  EXPECT_EQ(open_log(folder.path()).kind, "kitti");
  EXPECT_FALSE(open_log(folder.path()).right_frames);
  std::filesystem::copy(folder.file("image_02"), folder.file("image_03"));
  EXPECT_EQ(open_log(folder.path()).right_frames.view.sizes, (Sizes{3, 4, 6, 3}));
}

TEST(Kitti, ReadsTheRealDrive) {
  const char* data = std::getenv("DREAMROAD_DATA");
  if (!data) GTEST_SKIP() << "DREAMROAD_DATA is not set";
  const KittiLog log = read_kitti(std::string(data) + "/kitti_raw_0001");
  EXPECT_EQ(log.frame_count(), 108);
  EXPECT_EQ(log.right_frames.view.size(0), 30);
  EXPECT_NEAR(log.right_from_left[0], -0.532712, 1e-9);
  double metres = 0, turned = 0;
  for (size_t i = 0; i + 1 < log.poses.size(); i++) {
    const Vec3 d = relative(log.poses[i], log.poses[i + 1]).at;
    metres += std::sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
    turned += double(log.yaw_rate_radps[i]) * (log.times_s[i + 1] - log.times_s[i]);
  }
  EXPECT_NEAR(metres, 107, 1);
  EXPECT_NEAR(turned, euler_of(log.poses.back())[2], 0.02) << "yaw rates and poses turn the same way";
  EXPECT_NEAR(log.speed_mps.front(), 13.2, 0.1);
  // A third of the pixels have LiDAR depth.
  const float* depth = log.depth.data<float>();
  int64_t known = 0;
  for (int64_t i = 0; i < log.depth.view.count(); i++) known += depth[i] > 0;
  EXPECT_NEAR(double(known) / double(log.depth.view.count()), 0.33, 0.02);
}

// ---- comma2k19 ----

TEST(Comma2k19, ARightTurnTurnsRight) {
  Folder folder;
  const DrivingLog log = right_turn();
  test::write_comma2k19(folder.path(), log);
  ASSERT_TRUE(is_comma2k19(folder.path()));
  const Comma2k19Log back = read_comma2k19(folder.path());
  for (size_t i = 0; i < 240; i += 13) {
    for (size_t k = 0; k < 3; k++) EXPECT_NEAR(back.poses[i].at[k], log.poses[i].at[k], 1e-6);
    EXPECT_NEAR(euler_of(back.poses[i])[2], std::remainder(0.0125 * double(i), 2 * 3.14159265358979), 1e-6);
    EXPECT_NEAR(back.actions[i][0], 1 / 40.0, 1e-5);
    EXPECT_NEAR(back.velocity_mps[i][0], 10, 1e-6);
    EXPECT_NEAR(back.steering_wheel_rad[i], 30 * 3.14159265358979 / 180, 1e-9) << "the CAN bus counts to the left";
  }
  EXPECT_EQ(back.speed_mps, std::vector<double>(240, 10));
  std::vector<double> at(720);
  const auto save = [&](const Sizes& sizes) {
    write_npy(folder.file("global_pose/frame_positions"), View(at.data(), DType::f64, sizes));
  };
  save({239, 3});
  EXPECT_TRUE(holds(error_of([&] { read_comma2k19(folder.path()); }), "239 rows for 240 times"));
  at.assign(720, std::nan(""));
  save({240, 3});
  EXPECT_TRUE(holds(error_of([&] { read_comma2k19(folder.path()); }), "row 0 holds a NaN"));
}

TEST(Comma2k19, ReadsTheRealSegment) {
  const char* data = std::getenv("DREAMROAD_DATA");
  if (!data) GTEST_SKIP() << "DREAMROAD_DATA is not set";
  const Comma2k19Log log = read_comma2k19(std::string(data) + "/comma2k19");
  ASSERT_EQ(log.poses.size(), 1200u);
  for (size_t i = 0; i < 1200; i += 100) EXPECT_NEAR(log.velocity_mps[i][0], log.speed_mps[i], 0.5);
  double wheel_times_curvature = 0, wheel = 0, curvature = 0;
  for (size_t i = 0; i < 1200; i++) {
    const double w = log.steering_wheel_rad[i], k = double(log.actions[i][0]);
    wheel_times_curvature += w * k, wheel += w * w, curvature += k * k;
  }
  EXPECT_GT(wheel_times_curvature / std::sqrt(wheel * curvature), 0.5) << "steering to the right turns right";
  ASSERT_TRUE(log.preview.has_value());
  EXPECT_EQ(log.preview->width, 1164);
}

}  // namespace
}  // namespace dr
