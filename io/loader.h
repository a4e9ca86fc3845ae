#pragma once
// Windows of driving logs in a global order: sample g of a run is a pure function of (logs, settings, seed, g), whatever
// the ranks, threads and batches. A run that stops after g samples goes on with seek(g).
//
// A window is `frames` consecutive frames at 5 Hz and `anchors` frames further on, the future that the world model is
// given; both lie inside `window` frames (10 s). Logs with faster cameras are thinned to the nearest whole step.
// Each epoch visits every window once, in an order of its own: a Feistel permutation of the windows' numbers with Philox
// as its round function, walked until it falls inside the range (Black & Rogaway 2002, "Ciphers with arbitrary finite
// domains"), so that any sample is found without listing the others.
// Source of the windows: Goff et al. 2025, arXiv:2504.19077, section 4: T = 2 s, f_s in (T, 9 s), f_e - f_s = 1 s.

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "io/log.h"

namespace dr {

inline constexpr double kFrameS = 0.2;  // between frames at 5 Hz

struct LoaderSettings {
  int frames = 15, anchors = 5, window = 50;
  int batch = 8;                // samples of the global batch
  int rank = 0, ranks = 1;      // this one's share is batch / ranks consecutive samples of each global batch
  int prefetch = 2;             // batches made ahead by a thread; 0: made when asked for
  uint64_t seed = 1;
};

// The nearest whole number of a log's frames to 0.2 s, at least 1.
int64_t frames_to_5_hz(const DrivingLog& log);

struct Window {
  uint64_t sample = 0;          // global number
  int log = 0;
  int64_t first = 0, step = 1;  // frame i of the window is frame first + i * step of the log
  int anchor = 0;               // the first anchor is frame `anchor` of the window
};

struct Batch {
  std::vector<Window> windows;             // (B) this rank's
  std::vector<uint8_t> frames;             // (B, frames + anchors, H, W, 3): the anchors first
  std::vector<Pose> poses;                 // (B, frames + anchors) of the same frames
  std::vector<int32_t> index;              // (B, frames + anchors): each frame's number in its window, 0 to window - 1
  uint64_t next_sample = 0;                // where the next global batch begins
};

class Loader {
 public:
  // Throws unless every log has frames of one size and at least one window fits into one of them.
  Loader(std::vector<std::shared_ptr<const DrivingLog>> logs, const LoaderSettings& settings);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  uint64_t windows() const { return total_; }     // samples of an epoch
  Window window(uint64_t sample) const;
  Batch next();
  void seek(uint64_t sample);                     // the next batch begins here
  const std::vector<std::shared_ptr<const DrivingLog>>& logs() const { return logs_; }
  int height() const { return height_; }
  int width() const { return width_; }

 private:
  Batch make(uint64_t first) const;
  void work();
  void stop();

  std::vector<std::shared_ptr<const DrivingLog>> logs_;
  LoaderSettings settings_;
  std::vector<uint64_t> ends_;                    // windows up to and with each log
  std::vector<int64_t> steps_;
  uint64_t total_ = 0;
  int height_ = 0, width_ = 0, bits_ = 0;

  uint64_t next_ = 0;                             // of the consumer
  std::thread worker_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Batch> ready_;
  std::exception_ptr error_;
  uint64_t ahead_ = 0;                            // of the worker
  bool stopping_ = false;
};

}  // namespace dr
