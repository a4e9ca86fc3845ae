// A drive that turns right, through each format and back: what is positive to the right stays so. The driving logs' own
// layouts (segment, KITTI, comma2k19) are in io_log_test.cpp, the report's map in io_report_test.cpp.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "io/config.h"
#include "io/json_lines.h"
#include "io/safetensors.h"
#include "io/segment.h"
#include "io/video.h"
#include "runtime/runtime.h"
#include "sim/drive.h"
#include "tests/io_drives.h"
#include "tests/io_files.h"

namespace dr::test {
namespace {

// Of each pose: metres to the right, yaw and curvature to the right. All positive for the first half of the circle.
std::vector<double> signs_of(const DrivingLog& log) {
  std::vector<double> v;
  for (size_t i = 1; i < log.poses.size() / 2; i++)
    v.insert(v.end(), {log.poses[i].at[1], euler_of(log.poses[i])[2], double(log.actions[i][0])});
  return v;
}

TEST(RoundTrip, ArraysAndTextKeepTheDrive) {
  Folder folder;
  std::vector<double> drive = signs_of(right_turn());
  for (double v : drive) ASSERT_GT(v, 0);
  const View view(drive.data(), DType::f64, {int64_t(drive.size() / 3), 3});
  write_safetensors(folder.file("a"), std::vector<NamedView>{{"drive", view}}, {});
  EXPECT_EQ(SafeTensors(folder.file("a")).at("drive").values<double>(), drive);
  write_npy(folder.file("b"), view);
  EXPECT_EQ(read_npy(folder.file("b")).values<double>(), drive);

  std::string toml = "drive = [";
  {
    JsonLinesWriter lines(folder.file("c"));
    for (size_t i = 0; i < drive.size(); i += 3) {
      lines.write({{"y", drive[i]}, {"yaw", drive[i + 1]}, {"curvature", drive[i + 2]}});
      toml += format("{}, {}, {}, ", drive[i], drive[i + 1], drive[i + 2]);
    }
  }
  std::vector<double> json, config;
  for (const nlohmann::json& r : read_json_lines(folder.file("c")))
    for (const char* key : {"y", "yaw", "curvature"}) json.push_back(r[key].get<double>());
  EXPECT_EQ(json, drive);
  for (const ConfigValue& v : parse_config(toml + "]", "d", {{"drive", SettingKind::number, true}})) config.push_back(std::stod(v.text));
  EXPECT_EQ(config, drive);
}

TEST(RoundTrip, PicturesKeepTheirRight) {
  Folder folder;
  Image image{48, 32, 3, {}};  // bright on the right, and brighter towards the bottom
  for (int y = 0; y < 32; y++)
    for (int x = 0; x < 48; x++) image.pixels.insert(image.pixels.end(), 3, uint8_t(x < 24 ? 2 * y : 160 + 2 * y));
  const auto expect_right = [&](const Image& m, const char* format) {
    ASSERT_EQ(m.pixels.size(), image.pixels.size()) << format;
    for (size_t i = 0; i < m.pixels.size(); i++)
      ASSERT_NEAR(m.pixels[i], image.pixels[i], std::string_view(format) == "png" ? 0 : 24) << format << ", byte " << i;
  };
  write_png(folder.file("a.png"), image);
  expect_right(read_image(folder.file("a.png")), "png");
  write_jpeg(folder.file("a.jpg"), image, 95);
  expect_right(read_image(folder.file("a.jpg")), "jpeg");
  if (!has_video()) GTEST_SKIP() << "built without FFmpeg: the video is left out";
  {
    VideoWriter video(folder.file("a.mp4"), 48, 32, 5);
    video.add(image);
    video.finish();
  }
  Image back;
  double time_s = 0;
  ASSERT_TRUE(VideoReader(folder.file("a.mp4")).next(back, time_s));
  expect_right(back, "video");
}

TEST(RoundTrip, ASegmentOfTheBuiltInWorldKeepsItsSigns) {
  Folder folder;
  Runtime runtime({.threads = 1});
  bool right = false;
  for (uint64_t seed = 1; seed <= 6; seed++) {
    const sim::Drive drive({.seed = seed, .seconds = 20, .camera = sim::Camera::wide().resized(16, 8)});
    const DrivingLog log = drive.segment(runtime, 0, false, false);
    write_segment(folder.file("a"), log);
    const DrivingLog back = read_segment(folder.file("a"));
    const sim::DriveLog& truth = drive.log();
    ASSERT_EQ(back.poses.size(), truth.states.size());
    const std::vector<Motion> motion = motion_of(back.poses, back.times_s);
    const std::vector<Pose> poses = from_first(back.poses);
    double turned = 0, aside = 0;  // both by dead reckoning with the actions
    for (size_t i = 0; i + 1 < poses.size(); i++) {
      EXPECT_NEAR(motion[i].curvature, double(back.actions[i][0]), 2e-3) << "action " << i << " against what the poses did";
      EXPECT_EQ(back.lane_offset.data<float>()[i], truth.lane_offset_m[i]);
      EXPECT_EQ(back.desire.data<uint8_t>()[i], uint8_t(truth.desires[i]));
      const Vec3 step = relative(poses[i], poses[i + 1]).at;
      const double metres = std::hypot(step[0], step[1]);
      aside += metres * std::sin(turned + metres * double(back.actions[i][0]) / 2);
      turned += metres * double(back.actions[i][0]);
    }
    EXPECT_NEAR(std::remainder(euler_of(poses.back())[2] - turned, 2 * 3.14159265358979), 0, 0.05);
    EXPECT_NEAR(poses.back().at[1], aside, 3) << "metres to the right";
    right |= turned > 0.5 && aside > 10;
  }
  EXPECT_TRUE(right) << "none of these drives turns right";
}

}  // namespace
}  // namespace dr::test
