#include "io/video.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/io_files.h"

namespace dr {
namespace {

using test::error_of;
using test::Folder;
using test::holds;

#define NEEDS_VIDEO() \
  if (!has_video()) GTEST_SKIP() << "built without FFmpeg"

// Smooth colours that move to the right, so that frames differ and compress well.
Image picture(int width, int height, int frame) {
  Image image{width, height, 3, std::vector<uint8_t>(size_t(width) * size_t(height) * 3)};
  for (int y = 0; y < height; y++)
    for (int x = 0; x < width; x++) {
      uint8_t* p = &image.pixels[(size_t(y) * size_t(width) + size_t(x)) * 3];
      p[0] = uint8_t(40 + 160 * (x + 2 * frame) / (width + 40)), p[1] = uint8_t(60 + 120 * y / height), p[2] = uint8_t(200 - 4 * frame);
    }
  return image;
}

void write_video(const std::string& path, int frames) {
  VideoWriter writer(path, 96, 64, 5);
  for (int i = 0; i < frames; i++) writer.add(picture(96, 64, i));
  writer.finish();
}

TEST(Video, ComesBackAsItWasWritten) {
  NEEDS_VIDEO();
  Folder folder;
  write_video(folder.file("a.mp4"), 20);
  EXPECT_EQ(folder.names(), std::vector<std::string>{"a.mp4"}) << "no temporary is left";
  VideoReader reader(folder.file("a.mp4"));
  EXPECT_EQ(reader.info().width, 96);
  EXPECT_EQ(reader.info().height, 64);
  EXPECT_NEAR(reader.info().frames_per_s, 5, 1e-6);
  EXPECT_EQ(reader.info().frames, 20);
  Image image;
  double time = 0;
  for (int i = 0; i < 20; i++) {
    ASSERT_TRUE(reader.next(image, time)) << i;
    EXPECT_NEAR(time, 0.2 * i, 1e-6);
    const Image expected = picture(96, 64, i);
    double error = 0;
    for (size_t k = 0; k < expected.pixels.size(); k++) error += std::abs(int(image.pixels[k]) - int(expected.pixels[k]));
    EXPECT_LT(error / double(expected.pixels.size()), 4) << "frame " << i << " (a lossy codec, chroma at half size)";
  }
  EXPECT_FALSE(reader.next(image, time));
}

TEST(Video, IsTheSameFileEveryTime) {
  NEEDS_VIDEO();
  Folder folder;
  write_video(folder.file("a.mp4"), 8);
  write_video(folder.file("b.mp4"), 8);
  EXPECT_EQ(folder.read("a.mp4"), folder.read("b.mp4"));
}

TEST(Video, LeavesNothingWithoutFinish) {
  NEEDS_VIDEO();
  Folder folder;
  folder.write("a.mp4", "before");
  {
    VideoWriter writer(folder.file("a.mp4"), 96, 64, 5);
    writer.add(picture(96, 64, 0));
  }
  EXPECT_EQ(folder.read("a.mp4"), "before");
  EXPECT_EQ(folder.names(), std::vector<std::string>{"a.mp4"});
}

TEST(Video, RefusesWhatIsNone) {
  NEEDS_VIDEO();
  Folder folder;
  EXPECT_TRUE(holds(error_of([&] { VideoReader(folder.write("text.mp4", "this is no video, whatever its name says")); }), "text.mp4"));
  EXPECT_TRUE(holds(error_of([&] { VideoReader(folder.write("empty.mp4", "")); }), "empty.mp4"));
  EXPECT_TRUE(holds(error_of([&] { VideoReader(folder.file("missing.mp4")); }), "No such file"));
  EXPECT_TRUE(holds(error_of([&] { VideoWriter(folder.file("no/such/a.mp4"), 96, 64, 5); }), "there is no folder"));
  EXPECT_TRUE(holds(error_of([&] { VideoWriter(folder.file("a.mp4"), 95, 64, 5); }), "even"));
  EXPECT_TRUE(holds(error_of([&] { VideoWriter(folder.file("a.mp4"), 16384, 16384, 5); }), "up to 33554432 pixels"));
  EXPECT_TRUE(holds(error_of([&] { VideoWriter(folder.file("a.mp4"), 96, 64, 0); }), "frames/s"));
  EXPECT_TRUE(holds(error_of([&] { VideoWriter(folder.file("a.mp4"), 96, 64, 5).finish(); }), "at least one frame"));
  EXPECT_TRUE(holds(error_of([&] { VideoWriter(folder.file("a.mp4"), 96, 64, 5).add(picture(64, 64, 0)); }), "96 x 64"));
}

TEST(Video, ACutFileEndsWithOneLineOrEarly) {
  NEEDS_VIDEO();
  Folder folder;
  write_video(folder.file("whole.mp4"), 20);
  const std::string bytes = folder.read("whole.mp4");
  for (size_t keep = 0; keep < bytes.size(); keep += std::max<size_t>(1, bytes.size() / 40)) {
    int frames = 0;
    try {
      VideoReader reader(folder.write("cut.mp4", std::string_view(bytes).substr(0, keep)));
      Image image;
      double time = 0;
      while (reader.next(image, time)) frames++;
    } catch (const Error& e) {
      EXPECT_TRUE(holds(e.what(), "cut.mp4"));
    }
    EXPECT_LE(frames, 20) << keep << " bytes";
    EXPECT_TRUE(frames == 0 || keep > bytes.size() / 2) << "the index of an MP4 lies at its end";
  }
}

TEST(Video, ATableThatClaimsAGigabyteTakesNone) {
  NEEDS_VIDEO();
  Folder folder;
  write_video(folder.file("a.mp4"), 8);
  std::string bytes = folder.read("a.mp4");
  const size_t keyframes = bytes.rfind("stss");
  ASSERT_NE(keyframes, bytes.npos);
  bytes.replace(keyframes + 8, 4, "\x0e\xed\xe9\xbd");  // 250 million of them, of 4 bytes each
  EXPECT_TRUE(holds(error_of([&] { VideoReader(folder.write("a.mp4", bytes)); }), "Cannot allocate memory"));
}

TEST(Video, ReadsARealOne) {
  NEEDS_VIDEO();
  const char* data = std::getenv("DREAMROAD_DATA");
  if (!data) GTEST_SKIP() << "DREAMROAD_DATA is not set";
  VideoReader reader(std::string(data) + "/video/solidWhiteRight.mp4");
  EXPECT_EQ(reader.info().width, 960);
  EXPECT_EQ(reader.info().height, 540);
  EXPECT_EQ(reader.info().codec, "h264");
  Image image;
  double time = 0, last = -1;
  int frames = 0;
  for (; reader.next(image, time); frames++) {
    EXPECT_GT(time, last);
    last = time;
  }
  EXPECT_EQ(frames, 221);
  EXPECT_NEAR(last, 220 / 25.0, 1e-3);
}

}  // namespace
}  // namespace dr
