#include <gtest/gtest.h>

#include <cmath>

#include "sim/drive.h"

namespace dr::sim {
namespace {

TEST(Kinematic, ARightTurnGoesToPositiveY) {
  VehicleState s;
  s.speed_mps = 10;
  for (int i = 0; i < 40; i++) s = step(s, {.curvature = 0.02}, 0.05);
  EXPECT_NEAR(s.at.x, 50 * std::sin(0.4), 1e-3);
  EXPECT_NEAR(s.at.y, 50 * (1 - std::cos(0.4)), 1e-3);
  EXPECT_NEAR(s.heading_rad, 0.4, 1e-12);
}

TEST(Kinematic, StopsAndDoesNotReverse) {
  VehicleState s;
  s.speed_mps = 1;
  for (int i = 0; i < 100; i++) s = step(s, {.acceleration_mps2 = -3}, 0.05);
  EXPECT_EQ(s.speed_mps, 0);
  EXPECT_GT(s.at.x, 0.1);
  EXPECT_LT(s.at.x, 0.2);
}

TEST(Kinematic, InverseThenForwardIsTheSameDrive) {
  DriveSettings settings;
  settings.seed = 5;
  const Drive drive(settings);
  const DriveLog& log = drive.log();
  for (size_t begin = 0; begin + 200 < log.states.size(); begin += 200) {  // 10 s each
    VehicleState s = log.states[begin];
    for (size_t i = begin; i < begin + 200; i++) s = step(s, action_between(log.states[i], log.states[i + 1], kStepS), kStepS);
    const Vec2 error = s.at - log.states[begin + 200].at;
    EXPECT_LT(std::hypot(error.x, error.y), 0.01);
  }
}

TEST(Expert, WithoutNoiseKeepsItsLane) {
  for (uint64_t seed = 1; seed <= 10; seed++) {
    DriveSettings settings;
    settings.seed = seed, settings.with_noise = false, settings.lane_change_period_s = 0;
    const Drive drive(settings);
    for (size_t i = 0; i < drive.log().states.size(); i++) {
      ASSERT_LT(std::fabs(drive.log().lane_offset_m[i]), 0.15) << "seed " << seed << ", step " << i;
      const double v = drive.log().states[i].speed_mps;
      ASSERT_LT(std::fabs(drive.log().actions[i].curvature) * v * v, 3.01);
    }
  }
}

TEST(Expert, WandersAsPeopleDo) {
  double square = 0, count = 0;
  for (uint64_t seed = 1; seed <= 16; seed++) {
    DriveSettings settings;
    settings.seed = seed, settings.lane_change_period_s = 0;
    const Drive drive(settings);
    for (float offset : drive.log().lane_offset_m) square += double(offset) * double(offset), count++;
  }
  EXPECT_NEAR(std::sqrt(square / count), 0.2, 0.05);  // 16 minutes at a correlation of 8 s: about 60 independent values
}

TEST(Expert, ChangesLanesWhenAsked) {
  RoadStyle style;
  style.lanes_max = 3;
  uint64_t seed = 1;
  while (make_road(style, seed).forward < 2) seed++;
  const Road road = make_road(style, seed);
  Expert expert(road, ExpertSettings{}.without_noise(), 1, 0);
  EXPECT_FALSE(expert.ask(Desire::change_left)) << "there is no lane further left in this direction";
  EXPECT_FALSE(expert.ask(Desire::keep));
  ASSERT_TRUE(expert.ask(Desire::change_right));
  EXPECT_FALSE(expert.ask(Desire::change_right)) << "one at a time";
  VehicleState s{road.line.at(0).at + road.lane_centre_m(0) * right_of({1, 0}), 0, 10};
  for (int i = 0; i < 140; i++) s = step(s, expert.act(s, kStepS), kStepS);
  EXPECT_FALSE(expert.changing());
  EXPECT_EQ(expert.lane(), 1);
  EXPECT_LT(std::fabs(expert.lane_offset_m()), 0.2);
}

TEST(Drive, ChangesLanesInMoreThanATenthOfItsMinutes) {
  int with_change = 0;
  for (uint64_t seed = 1; seed <= 30; seed++) {
    DriveSettings settings;
    settings.seed = seed;
    const Drive drive(settings);
    bool any = false;
    for (Desire d : drive.log().desires) any |= d != Desire::keep;
    with_change += any;
  }
  EXPECT_GE(with_change, 6);
}

TEST(Drive, HasTheSameImagesForAnyThreadsAndBatch) {
  DriveSettings settings;
  settings.seed = 4;
  settings.camera = Camera::wide().resized(64, 32);
  const Drive drive(settings);
  Runtime one({.threads = 1}), two({.threads = 2});
  const SceneTables::Images all = drive.render(two, 8, 4), alone = Drive(settings).render(one, 9, 1);
  const std::vector<uint8_t> whole = all.rgb.to_vector<uint8_t>(), single = alone.rgb.to_vector<uint8_t>();
  ASSERT_EQ(single.size(), size_t(64 * 32 * 3));
  EXPECT_TRUE(std::equal(single.begin(), single.end(), whole.begin() + 64 * 32 * 3));
  EXPECT_FALSE(std::equal(single.begin(), single.end(), whole.begin())) << "frames differ from each other";
}

TEST(Drive, ImagesShowTheRoadTheVehicleIsOn) {
  for (uint64_t seed = 1; seed <= 6; seed++) {
    DriveSettings settings;
    settings.seed = seed;
    const Drive drive(settings);
    Runtime runtime;
    const SceneTables::Images images = drive.render(runtime, 0, 3);
    const std::vector<uint8_t> label = images.label.to_vector<uint8_t>();
    const std::vector<float> depth = images.depth.to_vector<float>();
    const int w = settings.camera.width, h = settings.camera.height;
    for (int frame = 0; frame < 3; frame++) {
      const size_t bottom = (size_t(frame) * h + size_t(h) - 1) * size_t(w) + size_t(w) / 2;
      EXPECT_TRUE(label[bottom] == uint8_t(Semantic::road) || label[bottom] == uint8_t(Semantic::marking));
      // Straight down the middle of the last row: height / tan(angle below the horizon).
      EXPECT_NEAR(depth[bottom], settings.camera.height_m * settings.camera.fy / (h - 1 - settings.camera.cy), 1e-4);
      EXPECT_EQ(label[size_t(frame) * h * w], uint8_t(Semantic::sky));
      EXPECT_EQ(depth[size_t(frame) * h * w], 0) << "the sky has no depth";
    }
  }
}

TEST(Drive, RefusesWhatItHasNot) {
  DriveSettings settings;
  settings.seconds = 0;
  EXPECT_THROW(Drive{settings}, Error);
  settings.seconds = 60;
  Runtime runtime;
  EXPECT_THROW(Drive(settings).render(runtime, 299, 2), Error);
}

}  // namespace
}  // namespace dr::sim
