// inspect of driving logs: how long, how far, how fast and how curved, and what the camera saw.

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "io/comma2k19.h"
#include "io/kitti.h"
#include "io/segment.h"
#include "io/sheet.h"
#include "io/text.h"
#include "sim/geometry.h"
#include "sim/scene/semantic_colours.h"
#include "train/commands/inspect.h"

namespace dr::cli {

namespace {

using nlohmann::ordered_json;

constexpr double kDegrees = 180 / sim::kPi;

struct Signal {
  std::string name;
  std::vector<double> values;  // (P)
};

// A log with what only its own format has.
struct Drive {
  DrivingLog log;
  std::vector<Signal> speeds_mps, curvatures;  // as measured, beside what the poses say
  std::vector<double> wheel_deg;               // (P) the steering wheel's angle, positive right; may be empty
  std::optional<Image> preview;
};

Drive of_kitti(const std::string& folder) {
  KittiLog kitti = read_kitti(folder);
  Drive d;
  if (!kitti.speed_mps.empty()) {
    d.speeds_mps.push_back({"measured (OXTS)", {kitti.speed_mps.begin(), kitti.speed_mps.end()}});
    d.curvatures.push_back({"yaw rate over speed (OXTS)", {}});
    for (const auto& a : kitti.actions) d.curvatures[0].values.push_back(double(a[0]));
  }
  d.log = std::move(kitti);
  return d;
}

Drive of_comma2k19(const std::string& folder) {
  Comma2k19Log comma = read_comma2k19(folder);
  Drive d;
  if (!comma.speed_mps.empty()) d.speeds_mps.push_back({"measured (CAN)", comma.speed_mps});
  for (double v : comma.steering_wheel_rad) d.wheel_deg.push_back(v * kDegrees);
  d.preview = std::move(comma.preview);
  d.log = std::move(comma);
  return d;
}

// What the poses say.
struct Course {
  std::vector<Pose> poses;  // from the first
  std::vector<double> speed_mps, curvature;  // (P); the last repeated
  double seconds = 0, metres = 0, turned_rad = 0;
};

Course course_of(const DrivingLog& log) {
  Course c{from_first(log.poses), {}, {}};
  const size_t n = c.poses.size();
  c.seconds = log.times_s.back() - log.times_s.front();
  for (size_t i = 0; i + 1 < n; i++) {
    const Pose step = relative(c.poses[i], c.poses[i + 1]);
    const double metres = std::hypot(step.at[0], step.at[1], step.at[2]);
    c.metres += metres;
    c.turned_rad += euler_of(step)[2];
    c.speed_mps.push_back(metres / (log.times_s[i + 1] - log.times_s[i]));
  }
  c.speed_mps.push_back(n > 1 ? c.speed_mps.back() : 0);
  for (const Motion& m : motion_of(log.poses, log.times_s)) c.curvature.push_back(m.curvature);
  return c;
}

std::string side(double v, std::string_view unit, int decimals) {
  return format("{:.{}f} {} {}", std::fabs(v), decimals, unit, v < 0 ? "left" : "right");
}

// "4.6 to 13.2"
std::string range(const std::vector<double>& v, int decimals) {
  const auto [low, high] = std::minmax_element(v.begin(), v.end());
  return format("{:.{}f} to {:.{}f}", *low, decimals, *high, decimals);
}
ordered_json ends(const std::vector<double>& v) {
  const auto [low, high] = std::minmax_element(v.begin(), v.end());
  return {*low, *high};
}

Rows rows_of(const Drive& d, const Course& c) {
  const DrivingLog& log = d.log;
  Rows rows = {{"log", log.kind}};
  if (log.frames) {
    const int64_t n = log.frame_count();
    const double span = n > 1 ? log.frame_times_s.back() - log.frame_times_s.front() : 0;
    rows.push_back({"frames", format("{} of {} x {}{}", n, log.camera.width, log.camera.height,
                                     span > 0 ? format(", {:.1f} a second", double(n - 1) / span) : "")});
    rows.push_back({"camera", format("fx {:.1f}, fy {:.1f}, cx {:.1f}, cy {:.1f} pixels", log.camera.fx, log.camera.fy,
                                     log.camera.cx, log.camera.cy)});
  } else {
    rows.push_back({"frames", "none"});
  }
  std::string beside;
  for (const auto& [name, array] : {std::pair{"depth", &log.depth}, std::pair{"labels", &log.labels}, std::pair{"desire", &log.desire},
                                    std::pair{"lane offset", &log.lane_offset}})
    if (*array) beside.append(beside.empty() ? "" : ", ").append(name);
  if (log.right_frames)
    beside += format("{}{} frames of a right camera", beside.empty() ? "" : ", ", log.right_frames.view.size(0));
  if (!d.speeds_mps.empty()) beside.append(beside.empty() ? "" : ", ").append("measured speed");
  if (!d.wheel_deg.empty()) beside.append(beside.empty() ? "" : ", ").append("steering");
  if (d.preview) beside.append(beside.empty() ? "" : ", ").append("a preview image");
  if (!beside.empty()) rows.push_back({"beside", beside});
  rows.push_back({"poses", format("{} over {:.1f} s", log.poses.size(), c.seconds)});
  rows.push_back({"path", format("{:.1f} m; ends {:.1f} m ahead and {}, turned {}", c.metres, c.poses.back().at[0],
                                 side(c.poses.back().at[1], "m", 1), side(c.turned_rad * kDegrees, "degrees", 1))});
  rows.push_back({"speed", range(c.speed_mps, 1) + " m/s"});
  rows.push_back({"curvature", range(c.curvature, 4) + " 1/m, positive to the right"});
  if (!d.wheel_deg.empty()) rows.push_back({"steering wheel", range(d.wheel_deg, 1) + " degrees, positive to the right"});
  for (const auto& [key, text] : log.notes) rows.push_back({shown(key), shown(text)});
  return rows;
}

ordered_json json_of(const Drive& d, const Course& c) {
  const DrivingLog& log = d.log;
  ordered_json j = {{"log", log.kind},
                    {"frames", log.frames ? log.frame_count() : 0},
                    {"width", log.camera.width},
                    {"height", log.camera.height},
                    {"poses", log.poses.size()},
                    {"seconds", c.seconds},
                    {"metres", c.metres},
                    {"end_m", {c.poses.back().at[0], c.poses.back().at[1]}},
                    {"turned_rad", c.turned_rad},
                    {"speed_mps", ends(c.speed_mps)},
                    {"curvature_per_m", ends(c.curvature)},
                    {"depth", bool(log.depth)},
                    {"labels", bool(log.labels)},
                    {"right_frames", log.right_frames ? log.right_frames.view.size(0) : 0}};
  if (!d.wheel_deg.empty()) j["steering_wheel_deg"] = ends(d.wheel_deg);
  return j;
}

Series path_of(const std::string& name, const Course& c) {
  Series s{name, {}, {}};
  for (const Pose& p : c.poses) s.x.push_back(p.at[0]), s.y.push_back(p.at[1]);
  return s;
}

void draw_frames(Report& report, const Drive& d, int64_t wanted) {
  const DrivingLog& log = d.log;
  Filmstrip strip{"", {}, {{"camera", {}}}, 90};
  if (log.depth) strip.rows.push_back({"depth", {}});
  if (log.labels) strip.rows.push_back({"labels", {}});
  for (int64_t f : evenly(log.frame_count(), wanted)) {
    size_t row = 0;
    strip.heads.push_back(format("{:.2f} s", log.frame_times_s[size_t(f)] - log.times_s.front()));
    strip.rows[row++].frames.push_back(frame_image(log.frames.view, f));
    if (log.depth) strip.rows[row++].frames.push_back(depth_image(log.depth.view, f));
    if (log.labels) strip.rows[row++].frames.push_back(label_image(log.labels.view, f, sim::kSemanticColours));
  }
  if (strip.rows.size() == 1) strip.rows[0].label.clear();
  storyboard(report, std::move(strip));
}

void draw(Report& report, const Drive& d) {
  const DrivingLog& log = d.log;
  const Course c = course_of(log);
  report.table({"", "ll", {}, rows_of(d, c)});
  if (d.preview) {
    report.heading("Preview");
    picture(report, "", *d.preview);
  }
  if (log.frames && log.frame_count() > 0) {
    report.heading("What the camera saw");
    draw_frames(report, d, 12);
    if (log.depth) depth_key(report);
    if (log.labels && log.kind == "built-in") {
      std::vector<Image> colours;
      for (const auto& colour : sim::kSemanticColours) {
        Image flat{80, 14, 3, {}};
        for (int y = 0; y < flat.height; y++)
          for (int x = 0; x < flat.width; x++) {  // framed, for white is one of them
            const bool edge = x == 0 || y == 0 || x == flat.width - 1 || y == flat.height - 1;
            for (uint8_t c : colour) flat.pixels.push_back(edge ? 128 : c);
          }
        colours.push_back(std::move(flat));
      }
      const std::vector<std::string> names(sim::kSemanticNames.begin(), sim::kSemanticNames.end());
      colour_key(report, "Colours of labels", names, colours);
    }
  }
  if (log.right_frames) {
    report.heading("Left and right camera");
    Filmstrip strip{"", {}, {{"left", {}}, {"right", {}}}, 90};
    for (int64_t f : evenly(log.right_frames.view.size(0), 3)) {
      strip.heads.push_back(format("{:.2f} s", log.frame_times_s[size_t(f)]));
      strip.rows[0].frames.push_back(frame_image(log.frames.view, f));
      strip.rows[1].frames.push_back(frame_image(log.right_frames.view, f));
    }
    storyboard(report, std::move(strip));
  }
  report.heading("How it drove");
  Chart map{"Path from above, driving to the right", "metres ahead of the start", "metres to the right", {path_of("", c)}};
  map.map = true;
  report.curves(map);
  std::vector<double> times;
  for (double t : log.times_s) times.push_back(t - log.times_s.front());
  const auto curves = [&](const std::string& title, const std::string& unit, const std::vector<double>& poses,
                          const std::vector<Signal>& measured) {
    Chart chart{title, "seconds", unit, {}};
    for (const Signal& s : measured) chart.series.push_back({s.name, times, s.values});
    chart.series.push_back({measured.empty() ? "" : "from the poses", times, poses, !measured.empty()});
    report.curves(chart);
  };
  curves("Speed", "m/s", c.speed_mps, d.speeds_mps);
  curves("Curvature, positive to the right", "1/m", c.curvature, d.curvatures);
  if (!d.wheel_deg.empty()) curves("Angle of the steering wheel, positive to the right", "degrees", d.wheel_deg, {});
  const auto beside = [&](const char* title, const char* unit, const HostArray& array, auto type) {
    if (!array) return;
    const auto* v = array.data<decltype(type)>();
    curves(title, unit, {v, v + array.view.count()}, {});
  };
  beside("Offset from the lane's centre, positive to the right", "m", log.lane_offset, float{});
  beside("Desire: 1 change left, 2 change right", "", log.desire, uint8_t{});
}

Contents contents_of(Drive drive, std::string kind) {
  const auto d = std::make_shared<const Drive>(std::move(drive));
  const Course c = course_of(d->log);
  return {aligned(rows_of(*d, c), "ll"), json_of(*d, c), [d](Report& report) { draw(report, *d); }, std::move(kind)};
}

// The segments of a folder by name; other files are passed over.
std::vector<std::string> segments_in(const std::string& folder) {
  std::vector<std::string> list;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string path = entry.path().string();
    if (entry.path().extension() == ".safetensors" && is_segment(SafeTensors(path))) list.push_back(path);
  }
  CHECK(!error, "{}: cannot be listed: {}", folder, error.message());
  std::sort(list.begin(), list.end());
  return list;
}

constexpr size_t kDrawn = 6;  // segments that have pictures in the report of a folder

Contents inspect_segments(const std::vector<std::string>& paths) {
  Rows rows = {{"segment", "frames", "size", "seconds", "metres", "turned right, degrees", "speed, m/s"}};
  ordered_json list = ordered_json::array();
  double seconds = 0, metres = 0;
  int64_t frames = 0;
  for (const std::string& path : paths) {
    Drive d;
    d.log = read_segment(path);
    const Course c = course_of(d.log);
    const std::string name = std::filesystem::path(path).filename().string();
    const int64_t n = d.log.frames ? d.log.frame_count() : 0;
    rows.push_back({shown(name), std::to_string(n), format("{} x {}", d.log.camera.width, d.log.camera.height),
                    format("{:.1f}", c.seconds), format("{:.0f}", c.metres), format("{:.1f}", c.turned_rad * kDegrees),
                    range(c.speed_mps, 1)});
    list.push_back({{"file", name}});
    list.back().update(json_of(d, c));
    seconds += c.seconds, metres += c.metres, frames += n;
  }
  const auto draw_segments = [paths, rows](Report& report) {
    report.table({"", "lrlrrrr", rows[0], {rows.begin() + 1, rows.end()}});
    const size_t drawn = std::min(paths.size(), kDrawn);
    Chart map{"Paths from above, driving to the right", "metres ahead of the start", "metres to the right", {}};
    map.map = true;
    std::vector<Drive> drives(drawn);
    for (size_t i = 0; i < drawn; i++) {
      drives[i].log = read_segment(paths[i]);
      map.series.push_back(path_of(std::filesystem::path(paths[i]).stem().string(), course_of(drives[i].log)));
    }
    report.heading(drawn < paths.size() ? format("The first {} segments", drawn) : "The segments");
    report.curves(map);
    for (size_t i = 0; i < drawn; i++) {
      report.subheading(map.series[i].name);
      if (drives[i].log.frames) draw_frames(report, drives[i], 3);
    }
  };
  return {format("{} segments, {} frames, {:.1f} minutes, {:.1f} km\n", paths.size(), with_commas(uint64_t(frames)), seconds / 60,
                 metres / 1000) + aligned(rows, "lrlrrrr"),
          {{"segments", list}, {"frames", frames}, {"seconds", seconds}, {"metres", metres}}, draw_segments, "segments"};
}

}  // namespace

Contents inspect_folder(const std::string& path) {
  if (is_kitti(path)) return contents_of(of_kitti(path), "kitti");
  if (is_comma2k19(path)) return contents_of(of_comma2k19(path), "comma2k19");
  const std::vector<std::string> segments = segments_in(path);
  CHECK(!segments.empty(), "{}: no driving log; accepted: a KITTI-style folder (image_02/, poses_cam02.txt), a segment of comma2k19 "
        "(global_pose/), a folder of segments (*.safetensors)", path);
  return inspect_segments(segments);
}

Contents inspect_segment(const std::string& path) {
  Drive d;
  d.log = read_segment(path);
  return contents_of(std::move(d), "segment");
}

}  // namespace dr::cli
