// The command reproject: its figures, the same bits for any number of threads, and what it refuses.

#include <cmath>
#include <cstdlib>

#include "io/json.h"
#include "io/segment.h"
#include "io/video.h"
#include "runtime/ledger.h"
#include "sim/drive.h"
#include "tests/io_files.h"
#include "tests/train_command.h"

namespace dr::cli {
namespace {

using test::error_of;
using test::holds;
using test::run_command;

class Reproject : public testing::Test {
 protected:
  nlohmann::json run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"reproject", "--quiet", "--json", folder_.file("r.json")});
    run_command(add_reproject, arguments);
    return nlohmann::json::parse(folder_.read("r.json"));
  }
  std::string refused(const std::vector<std::string>& arguments) {
    const std::string line = error_of([&] { run(arguments); });
    EXPECT_FALSE(std::filesystem::exists(folder_.file("r.json")));
    return line;
  }
  // Three seconds of the built-in world.
  std::string segment(bool depth = true) {
    Runtime runtime;
    sim::DriveSettings s;
    s.seed = 3, s.seconds = 3;
    const std::string path = folder_.file(depth ? "drive.safetensors" : "blind.safetensors");
    write_segment(path, sim::Drive(s).segment(runtime, 0, depth, false));
    return path;
  }

  test::Folder folder_;
};

TEST_F(Reproject, ExactDepthExplainsTheNextFrame) {
  const nlohmann::json r = run({"--log", segment(), "--to", "next"});
  EXPECT_EQ(r["frames"], 14);
  EXPECT_LT(r["mean_abs_error"], 3.0);
  EXPECT_GT(r["unwarped_mean_abs_error"], 3 * double(r["mean_abs_error"]));
  EXPECT_LT(r["rendered_mean_abs_error"], 4.0);
  EXPECT_LT(r["picture_mean_abs_error"], 5.0);
  EXPECT_GT(r["picture_psnr_db"], 24.0);
  EXPECT_GT(r["ssim"], 0.85);
  EXPECT_GT(r["coverage"], 0.3);
  EXPECT_GT(r["hole_fraction"], 0.001);
  EXPECT_LT(r["hole_fraction"], 0.1);
}

TEST_F(Reproject, IsTheSameBitsForAnyNumberOfThreads) {
  const std::string log = segment(), one = folder_.file("1.ledger"), two = folder_.file("2.ledger");
  auto a = run({"--log", log, "--frames", "3:7", "--threads", "1", "--ledger", one, "--out", folder_.file("one")});
  auto b = run({"--log", log, "--frames", "3:7", "--threads", "2", "--ledger", two, "--out", folder_.file("two")});
  a.erase("seconds"), b.erase("seconds");
  EXPECT_EQ(a, b);
  EXPECT_EQ(a["frames"], 4);
  const Ledger steps = read_ledger(one);
  ASSERT_EQ(steps.size(), 4u);
  EXPECT_EQ(steps[0].step, 3);
  EXPECT_GT(steps[0].calls.size(), 20u);
  EXPECT_TRUE(diff(steps, read_ledger(two)).identical);
  for (const char* name : {"/report.html", "/strip.png"})
    EXPECT_EQ(folder_.read(std::string("one") + name), folder_.read(std::string("two") + name));
  EXPECT_TRUE(holds(folder_.read("one/report.html"), "inpainted"));
}

TEST_F(Reproject, WritesAVideoOfEveryFrame) {
  if (!has_video()) GTEST_SKIP() << "built without FFmpeg";
  run({"--log", segment(), "--frames", "4", "--out", folder_.file("out"), "--mp4"});
  VideoReader video(folder_.file("out/reproject.mp4"));
  EXPECT_EQ(video.info().width, 2 * 256 + 4);
  EXPECT_EQ(video.info().height, 2 * 128 + 4);
  EXPECT_NEAR(video.info().frames_per_s, 5, 1e-3);
  Image frame;
  double time_s = 0;
  int frames = 0;
  while (video.next(frame, time_s)) frames++;
  EXPECT_EQ(frames, 4);
}

TEST_F(Reproject, WithoutATrueImageThereIsNoError) {
  const nlohmann::json r = run({"--log", segment(), "--to", "y=0.5,x=-0.25,yaw=+2", "--frames", "2"});
  EXPECT_EQ(r["frames"], 2);
  for (const char* key : {"mean_abs_error", "unwarped_mean_abs_error", "rendered_mean_abs_error", "psnr_db", "ssim"}) {
    ASSERT_TRUE(r.contains(key));
    EXPECT_TRUE(r[key].is_null()) << key;
  }
  EXPECT_GT(r["coverage"], 0.3);
  EXPECT_GT(r["hole_fraction"], 0.001);
}

TEST_F(Reproject, RefusesWhatItCannotDo) {
  const std::string log = segment(), out = folder_.write("a_file", "x");
  EXPECT_TRUE(holds(refused({"--log", folder_.file("none")}), "none: there is no such file or folder"));
  EXPECT_TRUE(holds(refused({"--log", folder_.path()}), "no driving log; accepted: a segment file, or a folder with"));
  EXPECT_TRUE(holds(refused({"--log", out}), "a_file: no driving log; accepted: a segment file, or a folder with"));
  EXPECT_TRUE(holds(refused({"--log", segment(false)}), "the log has no depth"));
  EXPECT_TRUE(holds(refused({"--log", log, "--to", "right"}), "no right camera; accepted: --to next or an offset"));
  EXPECT_TRUE(
      holds(refused({"--log", log, "--to", "y=4"}), "new camera of frame 0 is 4.00 m away; accepted: less than 4 m"));
  EXPECT_TRUE(holds(refused({"--log", log, "--to", "x=-3,z=3"}), "4.24 m away"));
  for (const char* to : {"", "left", "y", "y=", "y=a", "y=1m", "w=1", "y=1,", "y=nan", "y=inf", "y=1e999", "y=+-1"})
    EXPECT_TRUE(holds(refused({"--log", log, "--to", to}), "names no camera; accepted: next")) << to;
  for (const char* frames : {"0", "15", "3:3", "-1:3", ":3", "2:", "a", "99999999999999999999", "1:2:3"})
    EXPECT_TRUE(holds(refused({"--log", log, "--frames", frames}), "names no frames; accepted: N or A:B")) << frames;
  EXPECT_TRUE(holds(refused({"--log", log, "--out", out + "/sub"}), "a_file"));
  EXPECT_TRUE(holds(refused({"--log", log, "--mp4"}), "--mp4 needs --out DIR"));
}

// Beside the figures of an independent program in double precision: each point that lands between the other view's
// outer pixel centres is compared; means over frames.
TEST_F(Reproject, KittiAsMeasuredElsewhere) {
  const char* data = std::getenv("DREAMROAD_DATA");
  if (!data) GTEST_SKIP() << "DREAMROAD_DATA is not set";
  const std::string log = std::string(data) + "/kitti_raw_0001";
  if (!std::filesystem::exists(log)) GTEST_SKIP() << "DREAMROAD_DATA names no folder with kitti_raw_0001";
  nlohmann::json r = run({"--log", log, "--to", "next"});
  EXPECT_EQ(r["frames"], 107);
  EXPECT_NEAR(r["unwarped_mean_abs_error"], 18.80, 0.005);
  EXPECT_NEAR(r["mean_abs_error"], 6.50, 0.005);
  EXPECT_NEAR(r["rendered_mean_abs_error"], 8.61, 0.005);
  EXPECT_NEAR(r["coverage"], 0.27, 0.005);
  EXPECT_LT(r["picture_mean_abs_error"], 9) << "of the whole picture, sky and inpainted holes included";
  r = run({"--log", log, "--to", "right"});
  EXPECT_EQ(r["frames"], 30);
  EXPECT_NEAR(r["unwarped_mean_abs_error"], 21.35, 0.005);
  EXPECT_NEAR(r["mean_abs_error"], 6.12, 0.005);
  EXPECT_NEAR(r["rendered_mean_abs_error"], 6.56, 0.005);
  EXPECT_NEAR(r["coverage"], 0.31, 0.005);
  EXPECT_LT(r["picture_mean_abs_error"], 8.5);
}

}  // namespace
}  // namespace dr::cli
