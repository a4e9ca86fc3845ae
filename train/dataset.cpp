#include "train/dataset.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "io/segment.h"
#include "io/text.h"
#include "kernels/core/philox.h"
#include "sim/drive.h"

namespace dr {

namespace fs = std::filesystem;

const Fields<DataSettings>& data_fields() {
  using S = DataSettings;
  static const Fields<S> list = {
      {"data", &S::data, "a log, or a folder of segments; none: drives of the built-in world"},
      {"frames", &S::frames, "A:B, frames of each log from A up to and without B; none: all"},
      {"drives", &S::drives, "drives of the built-in world, without --data", 1, 100000},
      {"seconds", &S::seconds, "length of each of these drives", 1, 3600},
      {"wander", &S::wander, "m, standard deviation of their driver's place in the lane", 0, 1.5},
      {"steering-error", &S::steering_error, "1/m, standard deviation of their driver's hand on the wheel", 0, 0.1},
      {"lane-change-period", &S::lane_change_period, "s between lane changes, on average, where there are lanes; 0: none", 0, 3600},
      {"camera", &S::camera, "narrow or wide: comma's two cameras, which these drives are seen by"},
      {"width", &S::width, "pixels of the network's pictures", 8, 4096},
      {"height", &S::height, "pixels of the network's pictures", 8, 4096},
  };
  return list;
}

Fields<DataSettings> source_fields() {
  Fields<DataSettings> list = data_fields();
  std::erase_if(list, [](const Field<DataSettings>& f) { return f.name == "frames" || f.name == "width" || f.name == "height"; });
  return list;
}

uint64_t drive_seed(uint64_t seed, uint64_t index) {
  const PhiloxWords mixed = random_block({seed, 0, 0x5eed0001}, index);
  return mixed.x[0] | uint64_t{mixed.x[1]} << 32;
}

std::vector<std::string> dataset_paths(const std::string& data) {
  std::error_code error;
  if (!fs::is_directory(data, error)) return {data};
  std::vector<std::string> paths;
  for (const auto& entry : fs::directory_iterator(data, error)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".safetensors") && !name.ends_with(".latents.safetensors")) paths.push_back(entry.path().string());
  }
  CHECK(!error, "{}: cannot be listed: {}", data, error.message());
  if (paths.empty()) return {data};
  std::sort(paths.begin(), paths.end());
  return paths;
}

DrivingLog fitted(DrivingLog log, int width, int height) {
  CameraModel& c = log.camera;
  CHECK(log.frames, "{}: the log has no frames", log.where);
  if (c.width == width && c.height == height) return log;
  const int64_t by = std::min(c.width / width, c.height / height), w = c.width, h = c.height;
  CHECK(by >= 1, "{}: frames of {} x {} are smaller than the network's, {} x {}", log.where, w, h, width, height);
  const int64_t left = (w - width * by) / 2, top = h - height * by, frames = log.frame_count();
  const uint8_t* from = log.frames.data<uint8_t>();
  std::vector<uint8_t> pixels(size_t(frames * height * width * 3));
  uint8_t* to = pixels.data();
  for (int64_t f = 0; f < frames; f++)
    for (int64_t y = 0; y < height; y++)
      for (int64_t x = 0; x < width; x++)
        for (int64_t channel = 0; channel < 3; channel++) {
          int64_t sum = by * by / 2;  // to the nearest
          for (int64_t v = 0; v < by; v++)
            for (int64_t u = 0; u < by; u++)
              sum += from[((f * h + top + y * by + v) * w + left + x * by + u) * 3 + channel];
          *to++ = uint8_t(sum / (by * by));
        }
  log.frames = HostArray::from(std::move(pixels), {frames, height, width, 3});
  log.depth = log.labels = log.right_frames = {};
  const double scale = double(by);
  c.fx /= scale, c.fy /= scale;
  c.cx = (c.cx - double(left) + 0.5) / scale - 0.5, c.cy = (c.cy - double(top) + 0.5) / scale - 0.5;
  c.width = width, c.height = height;
  return log;
}

DrivingLog cut(DrivingLog log, int64_t first, int64_t end) {
  const int64_t n = log.frame_count();
  CHECK(first >= 0 && first < end && end <= n, "{}: frames {}:{} of {} were asked for", log.where, first, end, n);
  auto rows = [&](HostArray& a) {
    if (!a) return;
    const int64_t have = a.view.size(0), stop = std::min(end, have);
    if (stop <= first) return void(a = {});
    a.view.data = static_cast<uint8_t*>(a.view.data) + size_t(first * a.view.stride(0)) * size_of(a.view.dtype);
    a.view.sizes[0] = stop - first;
  };
  rows(log.frames), rows(log.depth), rows(log.labels), rows(log.right_frames);
  log.frame_times_s = {log.frame_times_s.begin() + first, log.frame_times_s.begin() + end};
  return log;
}

Split split(const Logs& logs, int64_t holdout) {
  const auto n = int64_t(logs.size());
  if (n == 1) {
    const int64_t frames = logs[0]->frame_count();
    CHECK(holdout < frames, "--holdout: {} of the {} frames of {}; accepted: fewer", holdout, frames, logs[0]->where);
    if (holdout == 0) return {logs, {}};
    return {{std::make_shared<DrivingLog>(cut(*logs[0], 0, frames - holdout))},
            {std::make_shared<DrivingLog>(cut(*logs[0], frames - holdout, frames))}};
  }
  CHECK(holdout < n, "--holdout: {} of {} logs; accepted: fewer", holdout, n);
  return {{logs.begin(), logs.end() - holdout}, {logs.end() - holdout, logs.end()}};
}

std::optional<FrameInterval> parse_frames(const char* option, const std::string& text) {
  if (text.empty()) return {};
  FrameInterval r;
  const char *p = text.data(), *stop = p + text.size();
  const auto a = std::from_chars(p, stop, r.first);
  const bool colon = a.ec == std::errc() && a.ptr != stop && *a.ptr == ':';
  const auto b = colon ? std::from_chars(a.ptr + 1, stop, r.end) : a;
  CHECK(colon && b.ec == std::errc() && b.ptr == stop && r.first >= 0 && r.end > r.first,
        "{}: '{}' is no range; accepted: A:B with 0 <= A < B", option, shown(text));
  return r;
}

Logs open_dataset(Runtime& runtime, const DataSettings& s, uint64_t seed) {
  Logs logs;
  const std::optional<FrameInterval> kept = parse_frames("--frames", s.frames);
  auto add = [&](DrivingLog log) {
    if (kept) log = cut(std::move(log), kept->first, kept->end);
    logs.push_back(std::make_shared<DrivingLog>(fitted(std::move(log), int(s.width), int(s.height))));
  };
  if (!s.data.empty()) {
    for (const std::string& path : dataset_paths(s.data)) add(open_log(path));
    return logs;
  }
  sim::DriveSettings drive;
  drive.seconds = s.seconds;
  drive.wander_m = s.wander;
  drive.steering_error = s.steering_error;
  drive.lane_change_period_s = s.lane_change_period;
  drive.camera = sim::Camera::named(s.camera).resized(int(s.width), int(s.height));
  for (int64_t i = 0; i < s.drives; i++) {
    drive.seed = drive_seed(seed, uint64_t(i));
    const sim::Drive d(drive);
    for (int k = 0; k < d.segments(); k++) add(d.segment(runtime, k, false, false));
  }
  return logs;
}

}  // namespace dr
