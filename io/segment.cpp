#include "io/segment.h"

#include <charconv>
#include <cmath>

namespace dr {

namespace {

// The shortest text that reads back as the same double, whatever the locale.
std::string text_of(double v) {
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, v).ptr;
  return {buffer, end};
}

std::vector<double> numbers_of(std::string_view text, const std::string& what, size_t count) {
  std::vector<double> out;
  const char *p = text.data(), *end = p + text.size();
  while (p < end) {
    double v = 0;
    const auto [next, error] = std::from_chars(p, end, v);
    CHECK(error == std::errc() && std::isfinite(v), "{}: '{}' is no list of {} numbers", what, text, count);
    out.push_back(v);
    p = next;
    while (p < end && *p == ' ') p++;
  }
  CHECK(out.size() == count, "{}: {} numbers are expected, got '{}'", what, count, text);
  return out;
}

const std::string* find(const Metadata& metadata, std::string_view key) {
  for (const auto& [k, v] : metadata)
    if (k == key) return &v;
  return nullptr;
}

constexpr std::string_view kOwnKeys[] = {"format", "kind", "width", "height", "fx", "fy", "cx", "cy", "mount",
                                          "camera_height"};

}  // namespace

bool is_segment(const SafeTensors& file) {
  const std::string* format = find(file.metadata(), "format");
  return format && format->starts_with("dreamroad segment");
}

void write_segment(const std::string& path, const DrivingLog& log) {
  log.check();
  std::vector<double> poses;
  for (const Pose& p : log.poses) {
    poses.insert(poses.end(), p.at.begin(), p.at.end());
    poses.insert(poses.end(), p.turn.begin(), p.turn.end());
  }
  const int64_t n = int64_t(log.poses.size());
  auto view = [](const auto* data, DType dtype, const Sizes& sizes) {
    return View(const_cast<void*>(static_cast<const void*>(data)), dtype, sizes);
  };
  std::vector<NamedView> arrays;
  if (log.frames) arrays.push_back({"frames", log.frames.view});
  if (log.depth) arrays.push_back({"depth", log.depth.view});
  if (log.labels) arrays.push_back({"labels", log.labels.view});
  arrays.push_back({"frame_times", view(log.frame_times_s.data(), DType::f64, {log.frame_count()})});
  arrays.push_back({"times", view(log.times_s.data(), DType::f64, {n})});
  arrays.push_back({"poses", view(poses.data(), DType::f64, {n, 7})});
  if (!log.actions.empty()) arrays.push_back({"actions", view(log.actions.data(), DType::f32, {n, 2})});
  if (log.desire) arrays.push_back({"desire", log.desire.view});
  if (log.lane_offset) arrays.push_back({"lane_offset", log.lane_offset.view});

  const CameraModel& c = log.camera;
  std::string mount;
  for (double v : c.mount.at) mount += text_of(v) + " ";
  for (double v : c.mount.turn) mount += text_of(v) + " ";
  mount.pop_back();
  Metadata metadata{{"format", std::string(kSegmentFormat)}, {"kind", log.kind}, {"width", std::to_string(c.width)},
                    {"height", std::to_string(c.height)}, {"fx", text_of(c.fx)}, {"fy", text_of(c.fy)},
                    {"cx", text_of(c.cx)}, {"cy", text_of(c.cy)}, {"mount", mount},
                    {"camera_height", text_of(c.height_m)}};
  for (const auto& note : log.notes) {
    CHECK(!find(metadata, note.first), "{}: a note may not be called '{}', which the format uses", path, note.first);
    metadata.push_back(note);
  }
  write_safetensors(path, arrays, metadata);
}

DrivingLog read_segment(const std::string& path) {
  const SafeTensors file(path);
  auto note = [&](std::string_view key) -> const std::string& {
    const std::string* v = find(file.metadata(), key);
    CHECK(v, "{}: not a segment: its metadata has no '{}'", path, key);
    return *v;
  };
  CHECK(note("format") == kSegmentFormat, "{}: the format is '{}'; '{}' is read", path, note("format"), kSegmentFormat);
  DrivingLog log;
  log.where = path;
  log.kind = note("kind");
  auto number = [&](std::string_view key) { return numbers_of(note(key), format("{}: metadata {}", path, key), 1)[0]; };
  auto side = [&](std::string_view key) {
    const double v = number(key);
    CHECK(v == std::floor(v) && v >= 0 && v <= 16384, "{}: metadata {} must be a whole number up to 16384, got {}", path, key, v);
    return int(v);
  };
  log.camera = {side("width"), side("height"), number("fx"), number("fy"), number("cx"), number("cy"), {}};
  const std::vector<double> mount = numbers_of(note("mount"), format("{}: metadata mount", path), 7);
  auto pose = [](const double* v) { return Pose{{v[0], v[1], v[2]}, {v[3], v[4], v[5], v[6]}}; };
  log.camera.mount = checked_poses({pose(mount.data())}, path + ": metadata mount")[0];
  if (find(file.metadata(), "camera_height")) log.camera.height_m = number("camera_height");

  auto expect = [&](const StoredArray& a, Element element, size_t rank, int64_t last) {
    CHECK(a.element == element && a.shape.size() == rank && (last == 0 || a.shape.back() == last),
          "{}: {} of rank {}{} is expected, got {} {}", a.where(), name_of(element), rank,
          last ? format(" with {} columns", last) : "", name_of(a.element), shape_text(a.shape));
  };
  auto column = [&](std::string_view name) {
    const StoredArray& a = file.at(name);
    expect(a, Element::f64, 1, 0);
    return a.values<double>();
  };
  log.frame_times_s = column("frame_times");
  log.times_s = column("times");
  const StoredArray& poses = file.at("poses");
  expect(poses, Element::f64, 2, 7);
  const std::vector<double> p = poses.values<double>();
  for (size_t i = 0; i < p.size(); i += 7) log.poses.push_back(pose(&p[i]));
  log.poses = checked_poses(std::move(log.poses), poses.where());
  if (const StoredArray* a = file.find("actions")) {
    expect(*a, Element::f32, 2, 2);
    const std::vector<float> v = a->values<float>();
    for (size_t i = 0; i < v.size(); i += 2) log.actions.push_back({v[i], v[i + 1]});
  }
  auto array = [&](std::string_view name, HostArray& to) {
    if (const StoredArray* a = file.find(name)) to = HostArray::of(*a);
  };
  array("frames", log.frames), array("depth", log.depth), array("labels", log.labels);
  array("desire", log.desire), array("lane_offset", log.lane_offset);
  for (const auto& [key, value] : file.metadata()) {
    bool own = false;
    for (std::string_view k : kOwnKeys) own |= k == key;
    if (!own) log.notes.emplace_back(key, value);
  }
  log.check();
  return log;
}

}  // namespace dr
