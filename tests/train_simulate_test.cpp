// The command simulate: the same files for any number of threads and on every run, and what it refuses.

#include <map>

#include "io/segment.h"
#include "io/video.h"
#include "tests/io_files.h"
#include "tests/train_command.h"

namespace dr::cli {
namespace {

using test::error_of;
using test::run_command;

class Simulate : public testing::Test {
 protected:
  // The files that a run writes, by name.
  std::map<std::string, std::string> run(const std::string& out, std::vector<std::string> arguments) {
    const std::string path = folder_.file(out);
    arguments.insert(arguments.begin(), {"simulate", "--quiet", "--out", path});
    run_command(add_simulate, arguments);
    std::map<std::string, std::string> files;
    for (const std::string& name : test::Folder::names_in(path)) files[name] = folder_.read(out + "/" + name);
    return files;
  }

  test::Folder folder_;
};

TEST_F(Simulate, WritesTheSameFilesForAnyNumberOfThreads) {
  std::vector<std::string> arguments = {"--envs", "2", "--seconds", "2", "--seed", "3", "--width", "64", "--height", "32"};
  if (has_video()) arguments.push_back("--mp4");
  auto with_threads = [&](const std::string& out, const char* threads) {
    std::vector<std::string> all = arguments;
    all.insert(all.end(), {"--threads", threads});
    return run(out, all);
  };
  const auto one = with_threads("one", "1");
  EXPECT_EQ(one.size(), has_video() ? 5u : 3u);  // segments, videos and the contact sheet
  EXPECT_NE(one.at("drive_0000_00.safetensors"), one.at("drive_0001_00.safetensors"));
  EXPECT_EQ(read_segment(folder_.file("one/drive_0000_00.safetensors")).frame_count(), 10);
  for (const char* threads : {"1", "2", "3"}) {
    const auto other = with_threads(format("again_{}", threads), threads);
    ASSERT_EQ(other.size(), one.size());
    for (const auto& [name, bytes] : one) EXPECT_TRUE(other.at(name) == bytes) << name << ", " << threads << " threads";
  }
}

TEST_F(Simulate, TheVideoHoldsTheDrive) {
  if (!has_video()) GTEST_SKIP() << "built without FFmpeg";
  run("out", {"--seconds", "2", "--mp4"});
  const VideoReader video(folder_.file("out/drive_0000.mp4"));
  EXPECT_EQ(video.info().frames, 10);
  EXPECT_EQ(video.info().width, 256);
  EXPECT_EQ(video.info().frames_per_s, 5);
}

TEST_F(Simulate, RefusesAVideoOfOddSize) {
  if (!has_video()) GTEST_SKIP() << "built without FFmpeg";
  EXPECT_EQ(error_of([&] { run("out", {"--mp4", "--width", "65"}); }), "--mp4 needs an even width and height, got 65 x 128");
  EXPECT_FALSE(std::filesystem::exists(folder_.file("out")));
}

}  // namespace
}  // namespace dr::cli
