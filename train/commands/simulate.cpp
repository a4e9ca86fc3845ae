// simulate: drives the built-in world and writes what its camera and its vehicle saw, as segments.

#include <chrono>
#include <cstdio>
#include <optional>

#include "io/file.h"
#include "io/segment.h"
#include "io/sheet.h"
#include "io/video.h"
#include "runtime/hash.h"
#include "sim/drive.h"
#include "sim/scene/semantic_colours.h"
#include "train/commands/command.h"
#include "train/dataset.h"

namespace dr::cli {

namespace {

struct SimulateOptions {
  Common common;
  int envs = 1;
  double seconds = 60, wander = sim::ExpertSettings{}.wander_m, lane_change_period = sim::DriveSettings{}.lane_change_period_s,
         steering_error = sim::DriveSettings{}.steering_error;
  std::string camera = "wide";
  int width = 256, height = 128;
  bool mp4 = false, no_depth = false, no_labels = false, no_noise = false;
};

int simulate(const SimulateOptions& o) {
  CHECK(!o.common.out.empty(), "simulate needs --out DIR, the folder for its segments");
  if (o.mp4) {
    CHECK(has_video(), "--mp4: this program was built without FFmpeg");
    CHECK(o.width % 2 == 0 && o.height % 2 == 0, "--mp4 needs an even width and height, got {} x {}", o.width, o.height);
  }
  Runtime runtime(o.common.runtime());
  create_folder(o.common.out);
  sim::DriveSettings settings;
  settings.seconds = o.seconds;
  settings.camera = sim::Camera::named(o.camera).resized(o.width, o.height);
  settings.with_noise = !o.no_noise;
  settings.wander_m = o.wander;
  settings.lane_change_period_s = o.lane_change_period;
  settings.steering_error = o.steering_error;

  nlohmann::json segments = nlohmann::json::array();
  int64_t frames = 0;
  double drawing_s = 0;
  std::vector<Image> sheet;
  const auto start = std::chrono::steady_clock::now();
  auto since = [](auto t) { return std::chrono::duration<double>(std::chrono::steady_clock::now() - t).count(); };
  for (int env = 0; env < o.envs; env++) {
    settings.seed = drive_seed(o.common.seed, uint64_t(env));
    const sim::Drive drive(settings);
    std::optional<VideoWriter> video;
    if (o.mp4) video.emplace(format("{}/drive_{:04}.mp4", o.common.out, env), o.width, o.height, 1 / (sim::kStepS * sim::kStepsPerFrame));
    for (int i = 0; i < drive.segments(); i++) {
      const auto drawing = std::chrono::steady_clock::now();
      const DrivingLog log = drive.segment(runtime, i, !o.no_depth, !o.no_labels);
      drawing_s += since(drawing);
      const std::string path = format("{}/drive_{:04}_{:02}.safetensors", o.common.out, env, i);
      write_segment(path, log);
      if (video)
        for (int64_t f = 0; f < log.frame_count(); f++) video->add(frame_image(log.frames.view, f));
      frames += log.frame_count();
      segments.push_back(path);
      // Of each of the first drives a frame early, in the middle and late; then the middle's depth and labels.
      if (i == 0 && sheet.size() < 6 * 5) {
        const int64_t n = log.frame_count();
        for (int64_t f : {n / 6, n / 2, n * 5 / 6}) sheet.push_back(frame_image(log.frames.view, f));
        if (log.depth) sheet.push_back(depth_image(log.depth.view, n / 2));
        if (log.labels) sheet.push_back(label_image(log.labels.view, n / 2, sim::kSemanticColours));
      }
      if (!o.common.quiet) {
        double metres = 0;
        for (size_t k = 1; k < log.poses.size(); k++)
          metres += std::hypot(log.poses[k].at[0] - log.poses[k - 1].at[0], log.poses[k].at[1] - log.poses[k - 1].at[1]);
        std::printf("%s  %lld frames  %4.0f m  lanes %d + %d\n", path.c_str(), static_cast<long long>(log.frame_count()), metres,
                    drive.scene().road.oncoming, drive.scene().road.forward);
        std::fflush(stdout);
      }
    }
    if (video) video->finish();
  }
  const int columns = 3 + !o.no_depth + !o.no_labels;
  write_png(o.common.out + "/contact_sheet.png", contact_sheet(sheet, columns));
  const double seconds = since(start), rate = double(frames) / drawing_s;
  std::printf("%zu segments, %lld frames of %d x %d in %.1f s (drawn at %.0f frames/s); %s/contact_sheet.png\n", segments.size(),
              static_cast<long long>(frames), o.width, o.height, seconds, rate, o.common.out.c_str());
  if (!o.common.json.empty()) {
    const nlohmann::json result = {{"segments", segments}, {"frames", frames}, {"seconds", seconds}, {"frames_per_s", rate}};
    write_file(o.common.json, result.dump(1) + "\n");
  }
  return kDone;
}

}  // namespace

void add_simulate(Command& app, Body& body) {
  auto options = std::make_shared<SimulateOptions>();
  Command command = app.add_subcommand("simulate", "drive the built-in world, write segments, videos and a contact sheet");
  add_common(command, options->common);
  command.add_option("--envs", options->envs, "drives, each in a world of its own").show_default().range(1, 100000);
  command.add_option("--seconds", options->seconds, "length of a drive; a segment holds one minute")
      .show_default()
      .range(0.2, 3600.0);
  command.add_option("--camera", options->camera, "narrow or wide: comma's two cameras")
      .show_default()
      .one_of({"narrow", "wide"});
  command.add_option("--width", options->width, "pixels").show_default().range(8, 4096);
  command.add_option("--height", options->height, "pixels").show_default().range(8, 4096);
  command.add_flag("--mp4", options->mp4, "also a video of each drive");
  command.add_flag("--no-depth", options->no_depth, "leave depth out of the segments");
  command.add_flag("--no-labels", options->no_labels, "leave semantic labels out of the segments");
  command.add_option("--wander", options->wander, "m, standard deviation of the driver's place in the lane")
      .show_default()
      .range(0.0, 1.5);
  command.add_option("--lane-change-period", options->lane_change_period,
                     "s between lane changes, on average, where there are lanes to change to; 0: none")
      .show_default()
      .range(0.0, 3600.0);
  command.add_option("--steering-error", options->steering_error,
                     "1/m, standard deviation of the driver's hand on the wheel; 0.01 swerves")
      .show_default()
      .range(0.0, 0.1);
  command.add_flag("--no-noise", options->no_noise, "a driver without wander and errors");
  command.callback([options, &body] { body = [options] { return simulate(*options); }; });
}

}  // namespace dr::cli
