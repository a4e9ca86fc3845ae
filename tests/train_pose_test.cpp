// The pose network's labels and training: signs on renders from displaced cameras, the same weights for any number of
// threads, and the ruler that comes out of it.

#include <cmath>

#include "io/json.h"
#include "io/json_lines.h"
#include "io/segment.h"
#include "kernels/image_to_float/image_to_float.h"
#include "tests/io_files.h"
#include "train/commands/train.h"
#include "train/pose_frames.h"
#include "train/pose_measure.h"

namespace dr::cli {
namespace {

using sim::displaced;
using sim::LanePlace;
using sim::VehicleState;
using test::error_of;
using test::holds;

sim::Drive short_drive(uint64_t seed, double seconds = 4) {
  sim::DriveSettings s;
  s.seed = seed, s.seconds = seconds;
  s.camera = sim::Camera::wide().resized(128, 64);
  return sim::Drive(s);
}

// The mean column of asphalt and its markings some 20 to 30 m ahead.
double road_column(Runtime& runtime, const sim::Drive& drive, const VehicleState& state) {
  const std::vector<uint8_t> label = drive.render(runtime, std::span(&state, 1)).label.to_vector<uint8_t>();
  double sum = 0, n = 0;
  for (size_t i = 42 * 128; i < 45 * 128; i++)
    if (label[i] == uint8_t(Semantic::road) || label[i] == uint8_t(Semantic::marking)) sum += double(i % 128), n++;
  return sum / n;
}

TEST(PoseLabels, AreThoseOfTheDriveItself) {
  Runtime runtime;
  const sim::Drive drive = short_drive(3);
  const PoseFrames f = render_pose_frames(runtime, drive, moved_track(drive, 0));
  EXPECT_EQ(f.rgb, drive.render(runtime, 0, drive.frames()).rgb.to_vector<uint8_t>());
  EXPECT_NE(f.rgb, render_pose_frames(runtime, drive, moved_track(drive, 0.5)).rgb);
  for (int i = 1; i < drive.frames(); i++) {
    const VehicleState &before = drive.state_at_frame(i - 1), &now = drive.state_at_frame(i);
    EXPECT_NEAR(f.motion[size_t(i)].forward_m, 0.1 * (before.speed_mps + now.speed_mps), 0.02);
    EXPECT_NEAR(f.motion[size_t(i)].yaw_rad, now.heading_rad - before.heading_rad, 1e-12);
    EXPECT_EQ(f.place[size_t(i)].lane, drive.log().lane[size_t(i) * 4]);
    EXPECT_NEAR(f.place[size_t(i)].offset_m, drive.log().lane_offset_m[size_t(i) * 4], 1e-4);
  }
}

TEST(PoseLabels, RightIsPositiveAndShowsTheRoadFurtherLeft) {
  Runtime runtime;
  for (uint64_t seed = 1; seed <= 4; seed++) {
    const sim::Drive drive = short_drive(seed);
    const VehicleState& s = drive.state_at_frame(10);
    const LanePlace here = drive.place(s, 10), moved = drive.place(displaced(s, 0.6, 0), 10),
                    turned = drive.place(displaced(s, 0, 0.05), 10);
    EXPECT_NEAR(moved.offset_m - here.offset_m, 0.6, 0.02) << "seed " << seed;
    EXPECT_NEAR(turned.heading_rad - here.heading_rad, 0.05, 1e-9);
    EXPECT_EQ(turned.offset_m, here.offset_m);
    const double column = road_column(runtime, drive, s);
    EXPECT_LT(road_column(runtime, drive, displaced(s, 0.6, 0)), column - 0.8) << "seed " << seed;
    EXPECT_LT(road_column(runtime, drive, displaced(s, 0, 0.05)), column - 1.5) << "seed " << seed;
    const sim::Motion motion = motion_between(s, displaced(s, 0.3, 0.1));
    EXPECT_NEAR(motion.forward_m, 0, 1e-6);
    EXPECT_NEAR(motion.right_m, 0.3, 1e-6);
    EXPECT_NEAR(motion.yaw_rad, 0.1, 1e-12);
    EXPECT_GT(motion_between(s, drive.state_at_frame(11)).forward_m, 0.2);
  }
}

TEST(PoseLabels, TheOffsetBetweenTwoLanesHasNoWeight) {
  uint64_t seed = 1;
  while (short_drive(seed, 0.4).scene().road.forward < 2) seed++;
  const sim::Drive drive = short_drive(seed, 0.4);
  const sim::Road& road = drive.scene().road;
  const sim::LinePoint on_line = road.line.at(drive.log().station_m[0]);
  auto place_at = [&](double right_m) {
    return drive.place(displaced({on_line.at, on_line.heading_rad, 0}, right_m, 0), 0);
  };
  const double line = road.lane_width_m;  // between lanes 0 and 1
  EXPECT_EQ(place_at(line - 0.1).lane, 0);
  EXPECT_EQ(place_at(line + 0.1).lane, 1);
  EXPECT_EQ(pose_label({}, place_at(line - 0.1)).weight[3], 0);
  EXPECT_EQ(pose_label({}, place_at(line + 0.1)).weight[3], 0);
  EXPECT_EQ(pose_label({}, place_at(line - 0.3)).weight[3], 1);
  EXPECT_EQ(pose_label({}, place_at(0.1)).weight[3], 1) << "the oncoming traffic's side is no lane to be in";
  EXPECT_EQ(place_at(-0.4).lane, 0);
  EXPECT_NEAR(place_at(-0.4).offset_m, -0.4 - 0.5 * road.lane_width_m, 1e-3);
}

TEST(PosePair, ChangesAreAFunctionOfTheStream) {
  Runtime runtime;
  const sim::Drive drive = short_drive(2, 1);
  const PoseFrames f = render_pose_frames(runtime, drive, moved_track(drive, 0));
  const size_t n = size_t(f.width * f.height * 6);
  auto pair = [&](uint32_t step, bool degrade) {
    std::vector<float> x(n);
    pose_pair(f.frame(0), f.frame(1), f.height, f.width, {1, step, 5}, degrade, x.data());
    return x;
  };
  const std::vector<float> plain = pair(0, false);
  Tape tape(runtime, {.gradients = false});
  const Tensor bytes = runtime.from(f.rgb, {f.count(), f.height, f.width, 3});
  const std::vector<float> images = tape.apply(ImageToFloat{}, bytes).floats();
  for (size_t i = 0; i < n; i++) ASSERT_EQ(plain[i], images[(i % 6 < 3 ? 0 : n / 2) + i / 6 * 3 + i % 3]);
  for (uint32_t step = 0; step < 8; step++) {
    const std::vector<float> x = pair(step, true);
    EXPECT_EQ(x, pair(step, true));
    EXPECT_NE(x, pair(step + 1, true));
    double product = 0, squares = 0, others = 0;  // what it shows is still there
    for (size_t i = 0; i < n; i++) {
      ASSERT_TRUE(std::isfinite(x[i]));
      const double a = x[i], b = plain[i];
      product += a * b, squares += a * a, others += b * b;
    }
    EXPECT_GT(product / std::sqrt(squares * others), 0.5);
  }
}

TEST(PoseMeasure, DeviationIsAMeanOverTheLastFramesModuloTheLane) {
  auto at = [](std::initializer_list<double> offsets) {
    std::vector<PoseReading> r;
    for (double o : offsets) r.push_back({0, 0, 0, o, 0});
    return r;
  };
  EXPECT_NEAR(lane_deviation_m(at({9, 0.4, 0.6}), at({0, 0.1, 0.1}), 2), 0.4, 1e-12);
  EXPECT_NEAR(lane_deviation_m(at({-0.5}), at({0.1, 0}), 1), -0.5, 1e-12);
  EXPECT_NEAR(lane_deviation_m(at({-1.5}), at({1.5}), 1), 0.5, 1e-12) << "over the line into the lane to the right";
  EXPECT_EQ(error_of([&] { lane_deviation_m(at({1}), at({1, 2}), 2); }),
            "lane deviation over 2 frames of rollouts of 1 and 2");
}

class TrainPose : public testing::Test {
 protected:
  int run(std::vector<std::string> arguments) {
    Command app;
    Body body;
    add_train(app, body);
    arguments.insert(arguments.begin(), {"train", "pose", "--quiet"});
    std::reverse(arguments.begin(), arguments.end());
    app.parse(arguments);
    testing::internal::CaptureStdout();
    struct Silence {
      ~Silence() { testing::internal::GetCapturedStdout(); }
    } silence;
    return body();
  }
  nlohmann::json trained(const std::string& name, std::vector<std::string> more) {
    std::vector<std::string> all = {"--width", "64", "--height", "32", "--channels", "8", "--drives", "3",
                                    "--seconds", "6", "--eval-drives", "1", "--batch", "8", "--leaf-samples", "4",
                                    "--log-every", "1", "--out", folder_.file(name), "--json",
                                    folder_.file(name + ".json")};
    all.insert(all.end(), more.begin(), more.end());
    EXPECT_EQ(run(all), kDone);
    return parse_json(folder_.read(name + ".json"), name);
  }

  test::Folder folder_;
};

TEST_F(TrainPose, GivesTheSameWeightsForAnyNumberOfThreadsAndMicroBatch) {
  const nlohmann::json one = trained("one", {"--steps", "3", "--threads", "1"}),
                       two = trained("two", {"--steps", "3", "--threads", "2", "--micro-batch", "4"}),
                       other = trained("other", {"--steps", "3", "--seed", "2"});
  EXPECT_EQ(one["weights_hash"], two["weights_hash"]);
  EXPECT_NE(one["weights_hash"], other["weights_hash"]);
  for (const char* key : {"speed_mae_mps", "slope_on_true_renders", "slope_on_true_renders_left", "blurred"})
    EXPECT_EQ(one.at(key), two.at(key)) << key;
  EXPECT_EQ(one["steps"], 3);
}

TEST_F(TrainPose, LearnsAndItsCheckpointMeasures) {
  trained("out", {"--steps", "40", "--warmup", "5"});
  double first = 0, last = 0;
  for (const nlohmann::json& line : read_json_lines(folder_.file("out/pose.log.jsonl"))) {
    if (!line.contains("step")) continue;
    const int64_t step = line["step"];
    if (step <= 10) first += double(line["loss"]);
    if (step > 30) last += double(line["loss"]);
  }
  EXPECT_LT(last, 0.8 * first);

  Runtime runtime;
  const PoseMeasure measure(runtime, folder_.file("out/pose.safetensors"));
  sim::DriveSettings s;
  s.seconds = 2, s.camera = sim::Camera::wide().resized(64, 32);
  const sim::Drive drive(s);
  const Tensor frames = drive.render(runtime, 0, 10).rgb;
  const std::vector<PoseReading> readings = measure.measure(frames);
  ASSERT_EQ(readings.size(), 10u);
  Tape tape(runtime, {.gradients = false});
  const std::vector<PoseReading> floats = measure.measure(tape.apply(ImageToFloat{}, frames)),
                                 later = measure.measure(frames.slice(0, 4, 6));
  for (size_t i = 0; i < 10; i++) {
    EXPECT_EQ(readings[i].lane_offset_m, floats[i].lane_offset_m);
    EXPECT_EQ(readings[i].speed_mps, floats[i].speed_mps);
    if (i > 4) {
      EXPECT_EQ(readings[i].speed_mps, later[i - 4].speed_mps);
    }
    EXPECT_GT(readings[i].speed_mps, 2) << "frame " << i;
  }
  EXPECT_EQ(readings[0].speed_mps, readings[1].speed_mps);
  EXPECT_EQ(error_of([&] { measure.measure(runtime.zeros(DType::u8, {2, 64, 64, 3})); }),
            "pose measure: frames must be (T,32,64,3) u8 or f32, got u8(2,64,64,3)");
}

TEST_F(TrainPose, DoesNotLearnFromALog) {
  Runtime runtime;
  const std::string path = folder_.file("log.safetensors");
  DrivingLog log = short_drive(1, 1).segment(runtime, 0, false, false);
  log.lane_offset = {};
  write_segment(path, log);
  const std::string error = error_of([&] { run({"--data", path, "--out", folder_.file("out")}); });
  EXPECT_TRUE(holds(error, "this one has no lane labels"));
  EXPECT_FALSE(std::filesystem::exists(folder_.file("out")));
}

}  // namespace
}  // namespace dr::cli
