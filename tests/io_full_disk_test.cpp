// Every writer on a disk that is full: one line, the old file as it was, and nothing beside it.

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <nlohmann/json.hpp>

#include "io/json_lines.h"
#include "io/report.h"
#include "io/segment.h"
#include "io/video.h"
#include "runtime/ledger.h"
#include "tests/io_drives.h"
#include "tests/io_files.h"

namespace dr::test {
namespace {

Image noise(int width, int height, uint32_t seed = 1) {
  Image image{width, height, 3, std::vector<uint8_t>(size_t(width) * size_t(height) * 3)};
  uint32_t x = seed;
  for (uint8_t& v : image.pixels) v = uint8_t((x = x * 1664525 + 1013904223) >> 24);
  return image;
}

struct Writer {
  const char* name;
  std::function<void(const std::string& path)> write;  // more than 100 KB
};

std::vector<Writer> writers() {
  static const Image image = noise(320, 240);
  static std::vector<float> values(100'000, 0.5f);
  static const View view(values.data(), DType::f32, {int64_t(values.size())});
  std::vector<Writer> list = {
      {"safetensors", [](const std::string& p) { write_safetensors(p, std::vector<NamedView>{{"x", view}}, {}); }},
      {"npy", [](const std::string& p) { write_npy(p, view); }},
      {"png", [](const std::string& p) { write_png(p, image); }},
      {"png of 16 bits",
       [](const std::string& p) { write_png(p, Image16{480, 240, {image.pixels.begin(), image.pixels.begin() + 480 * 240}}); }},
      {"jpeg", [](const std::string& p) { write_jpeg(p, noise(640, 480), 100); }},
      {"json", [](const std::string& p) { write_file(p, nlohmann::json(values).dump()); }},
      {"segment",
       [](const std::string& p) {
         DrivingLog log = right_turn();
         log.labels = log.depth = {};
         log.camera.width = log.camera.height = 40;
         log.frames = HostArray::from(std::vector<uint8_t>(60 * 40 * 40 * 3), {60, 40, 40, 3});
         write_segment(p, log);
       }},
      {"report",
       [](const std::string& p) {
         Report report("t");
         report.filmstrip({"", {}, {{"", {image}}}});
         report.write(p);
       }},
      {"ledger", [](const std::string& p) {
         LedgerWriter ledger(p);
         ledger.begin_step(0);
         for (int i = 0; i < 5000; i++) ledger.add({"an op with a name of some length", false, {}});
         ledger.end_step();
         ledger.close();
       }}};
  if (has_video()) list.push_back({"video", [](const std::string& p) {
                                     VideoWriter video(p, 320, 240, 5);
                                     for (uint32_t i = 0; i < 6; i++) video.add(noise(320, 240, i));
                                     video.finish();
                                   }});
  return list;
}

// What a writer says where files end at `bytes`; nothing where it succeeds.
std::string limited(const Writer& w, const std::string& path, rlim_t bytes) {
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit limit{bytes, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &limit);
  std::string line;
  try {
    w.write(path);
  } catch (const Error& e) {
    line = e.what();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  return line;
}

testing::AssertionResult says(const std::string& line, const std::string& path, const std::string& reason) {
  if (line.starts_with(path + ": ") && line.ends_with(": " + reason)) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "'" << line << "'";
}

TEST(FullDisk, EveryWriterKeepsTheOldFileWhereverTheNewOneEnds) {
  for (const Writer& w : writers()) {
    Folder folder;
    const std::string path = folder.file("a");
    w.write(path);
    const uint64_t whole = std::filesystem::file_size(path);
    ASSERT_GT(whole, 100'000u) << w.name;
    folder.write("a", "old");
    for (uint64_t bytes : {uint64_t{0}, uint64_t{1}, whole / 2, whole - 1}) {
      EXPECT_TRUE(says(limited(w, path, bytes), path, "File too large")) << w.name << ", " << bytes << " bytes";
      EXPECT_EQ(folder.read("a"), "old") << w.name;
      EXPECT_EQ(folder.names(), std::vector<std::string>{"a"}) << w.name;
    }
    EXPECT_EQ(limited(w, path, whole), "") << w.name;
    EXPECT_EQ(folder.read("a").size(), whole) << w.name;
  }
}

TEST(FullDisk, EveryWriterSaysSo) {
  Folder folder;
  create_folder(folder.file("disk"));
  const std::string disk = folder.file("disk"), path = disk + "/a";
  if (mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=64k") != 0)
    GTEST_SKIP() << "a file system of 64 KiB cannot be mounted here";
  for (const Writer& w : writers()) {
    write_file(path, "old");
    EXPECT_TRUE(says(error_of([&] { w.write(path); }), path, "No space left on device")) << w.name;
    EXPECT_EQ(read_file(path, 100), "old") << w.name;
    EXPECT_EQ(Folder::names_in(disk), std::vector<std::string>{"a"}) << w.name;
  }
  const std::string log = disk + "/log";
  std::string line;
  {
    JsonLinesWriter writer(log);
    line = error_of([&] {
      for (int i = 0; i < 1000; i++) writer.write({{"step", i}, {"note", std::string(500, 'x')}});
    });
  }
  EXPECT_EQ(line, log + ": cannot be written: No space left on device");
  EXPECT_GT(read_json_lines(log).size(), 50u) << "whole lines stay";
  umount(disk.c_str());
}

TEST(FullDisk, ADeviceIsWrittenToAndStaysOne) {
  for (const Writer& w : writers()) {
    if (std::string_view(w.name) == "ledger") continue;  // makes its file anew, under the name that it is given
    EXPECT_EQ(error_of([&] { w.write("/dev/full"); }), "/dev/full: cannot be written: No space left on device") << w.name;
    EXPECT_TRUE(std::filesystem::is_character_file("/dev/full")) << w.name;
  }
}

// The program itself: one line, exit code 2, nothing under the final name.
TEST(FullDisk, TheProgramEndsWithOneLineAndCodeTwo) {
  const std::string program = "build/dreamroad";
  if (!std::filesystem::exists(program)) GTEST_SKIP() << program << " is not here: run the tests from the repository's root after a build";
  Folder folder;
  write_png(folder.file("image.png"), noise(32, 32));
  const auto run = [&](const std::string& arguments) {
    const std::string command = format("ulimit -f 4; {} {} >/dev/null 2>{}", program, arguments, folder.file("said"));
    const int status = std::system(command.c_str());
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 2) << arguments << ": " << status;
    const std::string said = folder.read("said");
    EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
    EXPECT_TRUE(holds(said, "cannot be written: ")) << arguments;
    std::filesystem::remove(folder.file("said"));
  };
  run("simulate --seconds 1 --width 64 --height 32 --out " + folder.file("drives"));
  EXPECT_TRUE(Folder::names_in(folder.file("drives")).empty());
  run("inspect " + folder.file("image.png") + " --out " + folder.file("out"));
  EXPECT_TRUE(Folder::names_in(folder.file("out")).empty());
  run("inspect " + folder.file("image.png") + " --json /dev/full");
}

}  // namespace
}  // namespace dr::test
