#include "io/loader.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/core/philox.h"

namespace dr {

namespace {

constexpr uint32_t kOrderOp = 0x10ad0001, kAnchorOp = 0x10ad0002;  // Philox op ids

// A permutation of [0, 2^(2 half_bits)).
uint64_t feistel(uint64_t x, int half_bits, uint64_t seed, uint32_t epoch) {
  const uint64_t mask = (uint64_t{1} << half_bits) - 1;
  uint64_t left = x >> half_bits, right = x & mask;
  for (uint32_t round = 0; round < 6; round++) {
    const PhiloxWords w = philox4x32({{uint32_t(right), uint32_t(right >> 32), kOrderOp + (round << 8), epoch}}, uint32_t(seed),
                                     uint32_t(seed >> 32));
    const uint64_t mixed = left ^ ((w.x[0] | uint64_t{w.x[1]} << 32) & mask);
    left = right, right = mixed;
  }
  return left << half_bits | right;
}

}  // namespace

int64_t frames_to_5_hz(const DrivingLog& log) {
  const int64_t n = log.frame_count();
  if (n < 2) return 1;
  const double dt = (log.frame_times_s.back() - log.frame_times_s.front()) / double(n - 1);
  return std::max<int64_t>(1, int64_t(kFrameS / dt + 0.5));
}

Loader::Loader(std::vector<std::shared_ptr<const DrivingLog>> logs, const LoaderSettings& settings)
    : logs_(std::move(logs)), settings_(settings) {
  const LoaderSettings& s = settings_;
  CHECK(s.frames > 0 && s.anchors >= 0 && s.frames + s.anchors <= s.window,
        "loader: {} frames and {} anchors do not fit into a window of {}", s.frames, s.anchors, s.window);
  CHECK(s.batch > 0 && s.ranks > 0 && s.rank >= 0 && s.rank < s.ranks && s.batch % s.ranks == 0,
        "loader: a batch of {} does not divide over {} ranks (this is rank {})", s.batch, s.ranks, s.rank);
  for (const auto& log : logs_) {
    CHECK(log->frames, "{}: the log has no frames to load", log->where);
    if (height_ == 0) height_ = log->camera.height, width_ = log->camera.width;
    CHECK(log->camera.height == height_ && log->camera.width == width_, "{}: frames of {} x {}; those of {} are {} x {}",
          log->where, log->camera.width, log->camera.height, logs_[0]->where, width_, height_);
    const int64_t n = log->frame_count();
    const int64_t step = frames_to_5_hz(*log);
    steps_.push_back(step);
    total_ += uint64_t(std::max<int64_t>(0, n - (s.window - 1) * step));
    ends_.push_back(total_);
  }
  CHECK(total_ > 0, "loader: none of the {} logs holds a window of {} frames at 5 Hz", logs_.size(), s.window);
  bits_ = std::max(1, int(std::bit_width(total_ - 1) + 1) / 2);  // of each half
}

Loader::~Loader() { stop(); }

Window Loader::window(uint64_t sample) const {
  const uint32_t epoch = uint32_t(sample / total_);
  uint64_t at = sample % total_;
  do at = feistel(at, bits_, settings_.seed, epoch);
  while (at >= total_);
  const size_t log = size_t(std::upper_bound(ends_.begin(), ends_.end(), at) - ends_.begin());
  Window w{sample, int(log), int64_t(at - (log ? ends_[log - 1] : 0)), steps_[log], 0};
  // Behind all frames, and early enough for the last anchor to be in the window.
  const int least = settings_.frames, most = settings_.window - settings_.anchors;
  const uint32_t bits = random_bits({settings_.seed, epoch, kAnchorOp}, sample);
  w.anchor = least + int(uint64_t{bits} * uint64_t(most - least + 1) >> 32);
  return w;
}

Batch Loader::make(uint64_t first) const {
  const LoaderSettings& s = settings_;
  const int share = s.batch / s.ranks, each = s.frames + s.anchors;
  const size_t bytes = size_t(height_) * size_t(width_) * 3;
  Batch b;
  b.next_sample = first + uint64_t(s.batch);
  b.frames.resize(size_t(share) * size_t(each) * bytes);
  uint8_t* to = b.frames.data();
  for (int i = 0; i < share; i++) {
    const Window w = window(first + uint64_t(s.rank * share + i));
    const DrivingLog& log = *logs_[size_t(w.log)];
    for (int k = 0; k < each; k++) {
      const int in_window = k < s.anchors ? w.anchor + k : k - s.anchors;
      const int64_t frame = w.first + in_window * w.step;
      std::memcpy(to, log.frames.data<uint8_t>() + size_t(frame) * bytes, bytes);
      to += bytes;
      b.poses.push_back(log.pose_at(log.frame_times_s[size_t(frame)]));
      b.index.push_back(in_window);
    }
    b.windows.push_back(w);
  }
  return b;
}

Batch Loader::next() {
  if (settings_.prefetch <= 0) {
    Batch b = make(next_);
    next_ = b.next_sample;
    return b;
  }
  if (!worker_.joinable()) {
    ahead_ = next_;
    worker_ = std::thread([this] { work(); });
  }
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !ready_.empty() || error_; });
  if (ready_.empty()) std::rethrow_exception(error_);
  Batch b = std::move(ready_.front());
  ready_.pop_front();
  next_ = b.next_sample;
  lock.unlock();
  changed_.notify_all();
  return b;
}

void Loader::seek(uint64_t sample) {
  stop();
  next_ = sample;
}

void Loader::work() {
  try {
    for (;;) {
      Batch b = make(ahead_);
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stopping_ || int(ready_.size()) < settings_.prefetch; });
      if (stopping_) return;
      ahead_ = b.next_sample;
      ready_.push_back(std::move(b));
      lock.unlock();
      changed_.notify_all();
    }
  } catch (...) {
    const std::lock_guard lock(mutex_);
    error_ = std::current_exception();
    changed_.notify_all();
  }
}

void Loader::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (worker_.joinable()) worker_.join();
  ready_.clear();
  error_ = nullptr;
  stopping_ = false;
}

}  // namespace dr
