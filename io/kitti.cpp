#include "io/kitti.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <map>
#include <numbers>

#include "io/image.h"
#include "io/text.h"

namespace dr {

namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxText = 64 << 20;
constexpr double kCameraHeightM = 1.65;  // Geiger et al. 2013, "Vision meets Robotics: The KITTI Dataset", figure 3

// Lines without their ends; the last may lack one.
std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

// The finite numbers of a line between separators.
std::vector<double> numbers(std::string_view line, char separator, const std::string& where) {
  std::vector<double> out;
  const char *p = line.data(), *end = p + line.size();
  while (p < end) {
    while (p < end && (*p == ' ' || *p == '\t')) p++;
    if (p == end) break;
    double v = 0;
    const auto [next, error] = std::from_chars(p + (*p == '+'), end, v);
    CHECK(error == std::errc() && std::isfinite(v), "{}: '{}' is no list of finite numbers", where, shown(line));
    out.push_back(v);
    p = next;
    while (p < end && (*p == ' ' || *p == '\t')) p++;
    if (p < end && *p == separator && separator != ' ') p++;
  }
  return out;
}

std::vector<std::string> pngs_in(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.path().extension() == ".png") names.push_back(entry.path().filename().string());
  CHECK(!error, "{}: cannot be listed: {}", folder, error.message());
  std::sort(names.begin(), names.end());
  return names;
}

std::string calibration_file(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_regular_file() && name.starts_with("calib") && name.ends_with(".txt")) names.push_back(entry.path().string());
  }
  CHECK(!error, "{}: cannot be listed: {}", folder, error.message());
  CHECK(names.size() == 1, "{}: {} files are called calib*.txt; one is expected", folder, names.size());
  return names[0];
}

// Images of one size as (T,H,W,3).
HostArray read_frames(const std::string& folder, const std::vector<std::string>& names, const CameraModel& camera) {
  const size_t bytes = size_t(camera.width) * size_t(camera.height) * 3;
  std::vector<uint8_t> pixels;
  pixels.reserve(names.size() * bytes);
  for (const std::string& name : names) {
    const std::string path = folder + "/" + name;
    const Image image = read_image(path);
    CHECK(image.width == camera.width && image.height == camera.height, "{}: {} x {} pixels; the calibration says {} x {}",
          path, image.width, image.height, camera.width, camera.height);
    pixels.insert(pixels.end(), image.pixels.begin(), image.pixels.end());
  }
  return HostArray::from(std::move(pixels), {int64_t(names.size()), camera.height, camera.width, 3});
}

// Camera axes (right, down, forward) to device axes (forward, right, down).
Pose device_pose(const std::vector<double>& m) {
  constexpr size_t camera_axis[] = {2, 0, 1};
  Matrix3 r{};
  Vec3 at{};
  for (size_t i = 0; i < 3; i++) {
    at[i] = m[4 * camera_axis[i] + 3];
    for (size_t j = 0; j < 3; j++) r[3 * i + j] = m[4 * camera_axis[i] + camera_axis[j]];
  }
  // Text has few digits: the matrix is nearly, not exactly, a rotation.
  const double det = r[0] * (r[4] * r[8] - r[5] * r[7]) - r[1] * (r[3] * r[8] - r[5] * r[6]) + r[2] * (r[3] * r[7] - r[4] * r[6]);
  CHECK(std::fabs(det - 1) < 1e-3, "the 3 x 3 part has determinant {}; a rotation's is 1", det);
  return pose_of(r, at);
}

}  // namespace

bool is_kitti(const std::string& folder) {
  std::error_code none;  // a folder that may not be looked into is no log
  return fs::is_directory(folder + "/image_02", none) && fs::exists(folder + "/poses_cam02.txt", none);
}

KittiLog read_kitti(const std::string& folder) {
  KittiLog log;
  log.kind = "kitti";
  log.where = folder;
  const std::string calibration = calibration_file(folder), calibration_text = read_file(calibration, kMaxText);
  std::map<std::string, double, std::less<>> values;
  for (std::string_view line : lines_of(calibration_text)) {
    if (const size_t t = line.find("T_cam03_from_cam02 t = "); t == 0) {
      const std::vector<double> v = numbers(line.substr(23, line.find('(') == line.npos ? line.npos : line.find('(') - 23), ' ', calibration);
      CHECK(v.size() == 3, "{}: '{}' must hold three numbers", calibration, shown(line));
      log.right_from_left = {v[0], v[1], v[2]};
    } else if (const size_t space = line.find(' '); space != line.npos && space > 0) {
      const std::vector<double> v = numbers(line.substr(space), ' ', calibration);
      if (v.size() == 1) values[std::string(line.substr(0, space))] = v[0];
    }
  }
  auto value = [&](std::string_view key) {
    const auto it = values.find(key);
    CHECK(it != values.end(), "{}: no line '{} NUMBER'", calibration, key);
    return it->second;
  };
  for (std::string_view side : {"width", "height"})
    CHECK(value(side) >= 1 && value(side) <= kMaxImageSide && value(side) == std::floor(value(side)),
          "{}: {} must be a whole number from 1 to {}, got {}", calibration, side, kMaxImageSide, value(side));
  log.camera = {int(value("width")), int(value("height")), value("fx"), value("fy"), value("cx"), value("cy"), {}, kCameraHeightM};

  const std::string pose_file = folder + "/poses_cam02.txt", pose_text = read_file(pose_file, kMaxText);
  for (std::string_view line : lines_of(pose_text)) {
    if (line.empty()) continue;
    const std::string where = format("{}, line {}", pose_file, log.poses.size() + 1);
    const std::vector<double> m = numbers(line, ' ', where);
    CHECK(m.size() == 12, "{}: 12 numbers (3 x 4, row by row) are expected, got {}", where, m.size());
    try {
      log.poses.push_back(device_pose(m));
    } catch (const Error& e) {
      fail("{}: {}", where, e.what());
    }
  }
  log.poses = checked_poses(std::move(log.poses), pose_file);

  const std::vector<std::string> names = pngs_in(folder + "/image_02");
  CHECK(names.size() == log.poses.size(), "{}: {} frames in image_02, but {} poses in poses_cam02.txt; one each is expected",
        folder, names.size(), log.poses.size());
  log.frames = read_frames(folder + "/image_02", names, log.camera);

  if (fs::is_directory(folder + "/image_03")) {
    const std::vector<std::string> right = pngs_in(folder + "/image_03");
    CHECK(right.size() <= names.size() && std::equal(right.begin(), right.end(), names.begin()),
          "{}: image_03 must hold the right images of the first frames of image_02, under the same names", folder);
    if (!right.empty()) log.right_frames = read_frames(folder + "/image_03", right, log.camera);
  }
  if (fs::is_directory(folder + "/depth_02")) {
    const size_t pixels = size_t(log.camera.width) * size_t(log.camera.height);
    std::vector<float> depth(names.size() * pixels);
    for (const std::string& name : pngs_in(folder + "/depth_02")) {
      const auto frame = std::lower_bound(names.begin(), names.end(), name);
      const std::string path = folder + "/depth_02/" + name;
      CHECK(frame != names.end() && *frame == name, "{}: there is no frame of that name in image_02", path);
      const Image16 image = read_image16(path);
      CHECK(image.width == log.camera.width && image.height == log.camera.height,
            "{}: {} x {} pixels; the calibration says {} x {}", path, image.width, image.height, log.camera.width, log.camera.height);
      float* to = &depth[size_t(frame - names.begin()) * pixels];
      for (size_t i = 0; i < pixels; i++) to[i] = float(image.pixels[i]) / 256;
    }
    log.depth = HostArray::from(std::move(depth), {int64_t(names.size()), log.camera.height, log.camera.width});
  }

  const std::string ego = folder + "/ego.csv";
  if (fs::exists(ego)) {
    const std::string text = read_file(ego, kMaxText);
    const std::vector<std::string_view> lines = lines_of(text);
    CHECK(!lines.empty(), "{}: empty; a line with the columns' names is expected", ego);
    std::vector<std::string> columns;
    for (size_t begin = 0; begin <= lines[0].size();) {
      const size_t end = std::min(lines[0].find(',', begin), lines[0].size());
      columns.emplace_back(lines[0].substr(begin, end - begin));
      begin = end + 1;
    }
    auto column = [&](std::string_view name) {
      const auto it = std::find(columns.begin(), columns.end(), name);
      CHECK(it != columns.end(), "{}: no column '{}' in '{}'", ego, name, shown(lines[0], 160));
      return size_t(it - columns.begin());
    };
    const size_t time = column("unix_time_s"), speed = column("vel_fwd_mps"), acceleration = column("acc_fwd_mps2");
    for (size_t i = 1; i < lines.size(); i++) {
      if (lines[i].empty()) continue;
      const std::vector<double> v = numbers(lines[i], ',', format("{}, line {}", ego, i + 1));
      CHECK(v.size() == columns.size(), "{}, line {}: {} columns are expected, got {}", ego, i + 1, columns.size(), v.size());
      const double yaw_rate = -v.back() * (std::numbers::pi / 180), mps = v[speed];
      log.times_s.push_back(v[time]);
      log.speed_mps.push_back(float(mps));
      log.yaw_rate_radps.push_back(float(yaw_rate));
      log.actions.push_back({float(yaw_rate / std::max(mps, 1.0)), float(v[acceleration])});
    }
    CHECK(log.times_s.size() == names.size(), "{}: {} rows for {} frames; one each is expected", ego, log.times_s.size(), names.size());
    const double start = log.times_s[0];
    for (double& t : log.times_s) t -= start;
  } else {
    for (size_t i = 0; i < names.size(); i++) log.times_s.push_back(0.1 * double(i));
  }
  check_times(log.times_s, folder + ": times");
  if (log.actions.empty())
    for (const Motion& m : motion_of(log.poses, log.times_s)) log.actions.push_back({float(m.curvature), float(m.acceleration_mps2)});
  log.frame_times_s = log.times_s;
  log.check();
  return log;
}

}  // namespace dr
