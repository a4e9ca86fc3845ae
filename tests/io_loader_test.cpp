#include "io/loader.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/io_files.h"

namespace dr {
namespace {

using test::error_of;
using test::holds;

// Frames whose pixels say which log and frame they are.
std::shared_ptr<const DrivingLog> log_of(uint8_t name, int frames, double dt_s = 0.2) {
  auto log = std::make_shared<DrivingLog>();
  log->where = "log " + std::to_string(name);
  log->camera = {2, 1, 1, 1, 0, 0, {}};
  std::vector<uint8_t> pixels;
  for (int i = 0; i < frames; i++) {
    log->frame_times_s.push_back(dt_s * i), log->times_s.push_back(dt_s * i);
    log->poses.push_back({{double(i), 0, 0}, {1, 0, 0, 0}});
    for (int v : {int(name), i, i / 256, 0, 0, 0}) pixels.push_back(uint8_t(v));
  }
  log->frames = HostArray::from(std::move(pixels), {frames, 1, 2, 3});
  return log;
}

std::vector<std::shared_ptr<const DrivingLog>> logs() { return {log_of(1, 60), log_of(2, 75), log_of(3, 49), log_of(4, 130, 0.1)}; }

TEST(Loader, AnEpochVisitsEveryWindowOnce) {
  const Loader loader(logs(), {.prefetch = 0, .seed = 3});
  ASSERT_EQ(loader.windows(), 11u + 26 + 0 + 32);
  for (uint64_t epoch : {0, 5}) {
    std::set<std::pair<int, int64_t>> seen;
    bool in_order = true;
    for (uint64_t i = 0; i < loader.windows(); i++) {
      const Window w = loader.window(epoch * loader.windows() + i);
      EXPECT_GE(w.anchor, 15);
      EXPECT_LE(w.anchor, 45);
      EXPECT_EQ(w.step, w.log == 3 ? 2 : 1) << "a camera at 10 Hz is thinned";
      in_order &= seen.empty() || std::pair{w.log, w.first} > *seen.rbegin();
      seen.insert({w.log, w.first});
    }
    EXPECT_EQ(seen.size(), loader.windows());
    EXPECT_FALSE(in_order);
  }
  EXPECT_NE(loader.window(0).first * 10 + loader.window(0).log, loader.window(loader.windows()).first * 10 + loader.window(loader.windows()).log);
}

TEST(Loader, BatchesHoldWhatTheirWindowsSay) {
  Loader loader(logs(), {.batch = 6, .seed = 9});
  for (int i = 0; i < 5; i++) {
    const Batch b = loader.next();
    ASSERT_EQ(b.windows.size(), 6u);
    ASSERT_EQ(b.frames.size(), size_t(6 * 20 * 6));
    for (size_t s = 0; s < 6; s++) {
      const Window& w = b.windows[s];
      EXPECT_EQ(w.sample, uint64_t(6 * i) + s);
      for (size_t k = 0; k < 20; k++) {
        const int in_window = k < 5 ? w.anchor + int(k) : int(k) - 5;
        const int64_t frame = w.first + in_window * w.step;
        const uint8_t* pixel = &b.frames[(s * 20 + k) * 6];
        EXPECT_EQ(int(pixel[0]), w.log + 1);
        EXPECT_EQ(int64_t(pixel[1]), frame);
        EXPECT_EQ(b.index[s * 20 + k], in_window);
        EXPECT_EQ(b.poses[s * 20 + k].at[0], double(frame));
      }
    }
  }
}

TEST(Loader, ResumesByACounter) {
  Loader whole(logs(), {.batch = 4}), resumed(logs(), {.batch = 4, .prefetch = 1});
  std::vector<Batch> batches;
  for (int i = 0; i < 8; i++) batches.push_back(whole.next());
  resumed.next();
  resumed.seek(batches[4].next_sample);
  for (size_t i = 5; i < 8; i++) EXPECT_EQ(resumed.next().frames, batches[i].frames);
}

TEST(Loader, RanksShareTheGlobalBatch) {
  Loader all(logs(), {.batch = 8}), first(logs(), {.batch = 8, .rank = 0, .ranks = 2, .prefetch = 0}),
      second(logs(), {.batch = 8, .rank = 1, .ranks = 2, .prefetch = 3});
  for (int i = 0; i < 6; i++) {
    const Batch whole = all.next();
    std::vector<uint8_t> joined = first.next().frames;
    const std::vector<uint8_t> rest = second.next().frames;
    joined.insert(joined.end(), rest.begin(), rest.end());
    EXPECT_EQ(joined, whole.frames);
  }
}

TEST(Loader, RefusesWhatItCannotServe) {
  EXPECT_TRUE(holds(error_of([] { Loader({log_of(1, 49)}, {}); }), "none of the 1 logs holds a window of 50 frames"));
  EXPECT_TRUE(holds(error_of([] { Loader(logs(), {.batch = 3, .ranks = 2}); }), "does not divide over 2 ranks"));
  EXPECT_TRUE(holds(error_of([] { Loader(logs(), {.frames = 48, .anchors = 5}); }), "do not fit into a window of 50"));
  auto empty = std::make_shared<DrivingLog>();
  empty->where = "a log";
  EXPECT_TRUE(holds(error_of([&] { Loader({empty}, {}); }), "has no frames"));
}

}  // namespace
}  // namespace dr
