#include "train/commands/bench_files.h"

#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <functional>

#include "io/segment.h"
#include "sim/drive.h"
#include "train/commands/inspect.h"

namespace dr::cli {

namespace {

constexpr int kWidth = 256, kHeight = 128;

class TemporaryFolder {
 public:
  TemporaryFolder() : path_(std::filesystem::temp_directory_path() / "dreamroad_bench_XXXXXX") {
    CHECK(mkdtemp(path_.data()), "{}: a temporary folder cannot be made", path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string file(const char* name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

uint64_t sum_of_words(const View& v) {
  uint64_t sum = 0;
  for (size_t at = 0; at + 8 <= v.bytes(); at += 8) {
    uint64_t word;
    std::memcpy(&word, static_cast<const char*>(v.data) + at, 8);
    sum += word;
  }
  return sum;
}

DrivingLog minute() {
  DrivingLog log;
  log.kind = "built-in", log.where = "bench";
  log.camera = {kWidth, kHeight, 200, 200, kWidth / 2.0, kHeight / 2.0, {}};
  constexpr int64_t kFrames = sim::kSegmentFrames, kPixels = kFrames * kWidth * kHeight;
  for (int i = 0; i < kFrames; i++) log.frame_times_s.push_back(0.2 * i);
  for (int i = 0; i < kFrames * sim::kStepsPerFrame; i++) log.times_s.push_back(sim::kStepS * i);
  log.poses.resize(log.times_s.size());
  log.frames = HostArray::from(std::vector<uint8_t>(kPixels * 3, 100), {kFrames, kHeight, kWidth, 3});
  log.depth = HostArray::from(std::vector<float>(kPixels, 20), {kFrames, kHeight, kWidth});
  return log;
}

void write_sparse_safetensors(const std::string& path, uint64_t bytes) {
  const std::string header = format(R"({{"x":{{"dtype":"F32","shape":[{}],"data_offsets":[0,{}]}}}})", bytes / 4, bytes);
  const uint64_t n = header.size();
  write_file(path, std::string(reinterpret_cast<const char*>(&n), 8) + header);
  std::filesystem::resize_file(path, 8 + n + bytes);
}

}  // namespace

std::vector<ModelCase> file_cases() {
  return {{"segment_read", "minute of 256x128,depth"}, {"inspect", "safetensors of 1 GiB"}, {"simulate", "256x128,depth"}};
}

FileTiming time_files(const ModelCase& c, const RuntimeOptions& options, double seconds, uint64_t seed) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.safetensors");
  std::function<void()> call;
  Cost cost;
  int64_t frames = 0;
  std::optional<Runtime> runtime;
  std::optional<sim::Drive> drive;
  if (c.op == "segment_read") {
    write_segment(path, minute());
    cost.bytes_read = double(std::filesystem::file_size(path));
    call = [&] {
      const DrivingLog log = read_segment(path);
      const uint64_t sum = sum_of_words(log.frames.view) + sum_of_words(log.depth.view);
      CHECK(sum > 0, "{}: only zeros came back", path);  // or a compiler would not take the sum
    };
  } else if (c.op == "inspect") {
    write_sparse_safetensors(path, uint64_t{1} << 30);
    call = [&] { inspect_path(path); };
  } else {
    runtime.emplace(options);
    drive.emplace(sim::DriveSettings{.seed = seed, .seconds = 10, .camera = sim::Camera::wide().resized(kWidth, kHeight)});
    frames = drive->frames();
    cost.bytes_written = double(frames) * kWidth * kHeight * 7;
    call = [&] { drive->segment(*runtime, 0, true, false); };
  }
  call();
  std::vector<double> us = harness::time_calls(seconds, call);
  FileTiming t{harness::summarise(us, cost)};
  t.frames_per_s = double(frames) / t.timing.median_us * 1e6;
  return t;
}

}  // namespace dr::cli
