// sample: a rollout of a world model from a driving log, at poses of one's choice.

#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>

#include "io/file.h"
#include "io/loader.h"
#include "io/sheet.h"
#include "io/text.h"
#include "io/video.h"
#include "train/commands/command.h"
#include "train/world_films.h"

namespace dr::cli {

namespace {

struct SampleSettings : RolloutSettings {
  int64_t log = 0, start = -1, frames = 20;
  double deviation_m = 0.5;
  std::string pose = "log", poses;
};

const Fields<SampleSettings>& sample_fields() {
  using S = SampleSettings;
  static const Fields<S> list = [] {
    Fields<S> own = {
        {"log", &S::log, "which of the logs, from 0", 0, 1e6},
        {"start", &S::start, "the log's frame that is generated first; -1: the earliest that has a context", -1, 1e9},
        {"frames", &S::frames, "generated frames, at 5 Hz", 1, kWindowFrames - 1},
        {"pose", &S::pose,
         "where they are taken: log (as driven), deviation (beside that), file (--poses) or plan (where the "
         "model's own plan leads)"},
        {"deviation-m", &S::deviation_m, "m to the right, reached after 25 frames", -5, 5},
        {"poses", &S::poses,
         "text, a line per generated frame: x y z roll pitch yaw, in m and rad, x forward, y right, z "
         "down, seen from the first frame that is given (--context-frames before --start); commas or blanks"},
    };
    for (const Field<S>& f : rollout_fields<S>()) own.push_back(f);
    return own;
  }();
  return list;
}

struct SampleOptions {
  Common common;
  std::string world, tokenizer;
  DataSettings data{.drives = 1};
  SampleSettings s;
};

// Six numbers a line; empty lines and what follows a # are skipped.
std::vector<Pose> read_poses(const std::string& path) {
  const std::string text = read_file(path, 16 << 20);
  std::vector<Pose> poses;
  int64_t line = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view row(text.data() + begin, end - begin);
    row = row.substr(0, row.find('#'));
    begin = end + 1, line++;
    std::vector<double> numbers;
    for (size_t i = 0; i < row.size();) {
      if (std::string_view(" \t\r,;").find(row[i]) != std::string_view::npos) {
        i++;
        continue;
      }
      double v = 0;
      const auto [stop, error] = std::from_chars(row.data() + i, row.data() + row.size(), v);
      CHECK(error == std::errc() && std::isfinite(v), "{}:{}: '{}' is no number", path, line, shown(row.substr(i), 20));
      numbers.push_back(v);
      i = size_t(stop - row.data());
    }
    if (numbers.empty()) continue;
    CHECK(numbers.size() == 6, "{}:{}: {} numbers; accepted: six, x y z roll pitch yaw", path, line, numbers.size());
    poses.push_back(pose_of_euler({numbers[0], numbers[1], numbers[2]}, {numbers[3], numbers[4], numbers[5]}));
  }
  return poses;
}

RolloutStart start_of(const LatentLog& source, const WorldModelConfig& config, const SampleSettings& s) {
  const int64_t step = frames_to_5_hz(*source.log), last = s.context_frames + s.frames - 1;
  const int64_t target = s.start < 0 ? s.context_frames * step : s.start;
  CHECK(last < kWindowFrames - config.anchors,
        "--context-frames {} and --frames {}: with {} anchors a rollout has at most {} frames", s.context_frames,
        s.frames, config.anchors, kWindowFrames - config.anchors);
  const int64_t first = target - s.context_frames * step;
  const int64_t anchor = s.first_anchor(config, s.frames);
  const RolloutStart start{&source, first, step, s.context_frames, anchor, 0};
  CHECK(first >= 0 && start.frame(config.anchors > 0 ? anchor + config.anchors - 1 : s.context_frames - 1) <
                          source.log->frame_count(),
        "--start {}: {} has {} frames; a rollout needs {} before the first generated one, and {} anchors up to {} "
        "behind it",
        target, source.log->where, source.log->frame_count(), s.context_frames * step, config.anchors,
        (anchor + config.anchors - 1 - s.context_frames) * step);
  return start;
}

// By a whole factor, so that small frames can be seen.
Image enlarged(const Image& image, int by) {
  Image to{image.width * by, image.height * by, 3, {}};
  to.pixels.reserve(size_t(to.width) * size_t(to.height) * 3);
  for (int y = 0; y < to.height; y++)
    for (int x = 0; x < to.width; x++)
      for (int c = 0; c < 3; c++) to.pixels.push_back(image.pixels[size_t((y / by * image.width + x / by) * 3 + c)]);
  return to;
}

int sample(const SampleOptions& o) {
  const SampleSettings& s = o.s;
  const bool planned = s.pose == "plan";
  CHECK(planned || s.pose == "log" || s.pose == "deviation" || s.pose == "file",
        "--pose: '{}'; accepted: log, deviation, file, plan", shown(s.pose));
  CHECK((s.pose == "file") == !s.poses.empty(), "--poses FILE goes with --pose file, and the other way round");
  SamplerSettings sampling = s.sampler(o.common.seed);
  sampling.plan = planned;
  std::vector<Pose> track = s.poses.empty() ? std::vector<Pose>() : read_poses(s.poses);
  CHECK(s.poses.empty() || int64_t(track.size()) >= s.frames, "{}: {} poses for {} frames; accepted: as many or more",
        s.poses, track.size(), s.frames);
  Runtime runtime(o.common.runtime());
  const LoadedWorldModel world = load_world_model(runtime, o.world);
  const LatentCodec codec(runtime, o.tokenizer);
  const FilmMaker films(runtime, world, codec);
  const std::string folder = o.common.out.empty() ? "out/sample" : o.common.out;
  create_folder(folder);
  DataSettings data = o.data;
  if (!data.data.empty()) {
    const std::vector<std::string> paths = dataset_paths(data.data);
    CHECK(s.log < int64_t(paths.size()), "--log {}: {} holds {} logs", s.log, data.data, paths.size());
    data.data = paths[size_t(s.log)];
  }
  const std::vector<LatentLog> logs = open_latent_logs(runtime, world, codec, data, o.common.seed);
  const LatentLog& source = logs.at(data.data.empty() ? size_t(std::min<int64_t>(s.log, int64_t(logs.size()) - 1)) : 0);
  const RolloutStart start = start_of(source, world.model->config(), s);
  if (s.pose == "log") track = log_track(start, s.frames);
  if (s.pose == "deviation") track = deviated_track(start, s.frames, s.deviation_m);
  if (s.pose == "file")
    for (Pose& p : track) p = start.pose(0) * p;

  Films made{s.frames, films.height(), films.width(), {{}}};
  double generating_s = 0;
  WorldSampler sampler(runtime, world, films.forecaster(), sampling, {start});
  for (int64_t i = 0; i < s.frames; i++) {
    const auto begin = std::chrono::steady_clock::now();
    const std::vector<Pose> poses = planned ? sampler.planned() : std::vector<Pose>{track[size_t(i)]};
    const Tensor latents = sampler.generate(poses);
    const Film frame = films.decode(latents);
    sampler.push(latents, poses);
    generating_s += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    made.list[0].insert(made.list[0].end(), frame.begin(), frame.end());
  }
  const double ms_per_frame = 1000 * generating_s / double(s.frames);

  // The log may end before the rollout does where there are no anchors.
  const int64_t recorded =
      std::min(s.frames, (source.log->frame_count() - 1 - start.frame(s.context_frames)) / start.step + 1);
  const Films truth = films.recorded({start}, recorded);
  const ImageScorer scorer(runtime, {});
  std::vector<Image> strip;
  constexpr int64_t kColumns = 10;
  const int64_t columns = std::min(kColumns, recorded);
  const auto column = [&](int64_t k) { return columns == 1 ? 0 : k * (recorded - 1) / (columns - 1); };
  for (const Films* f : {&truth, static_cast<const Films*>(&made)})
    for (int64_t k = 0; k < columns; k++) strip.push_back(film_frame(*f, 0, column(k)));
  write_png(folder + "/sample.png", contact_sheet(strip, int(columns)));
  if (has_video()) {
    const int by = std::max(1, int(384 / films.width()));
    constexpr int kGap = 4;
    VideoWriter video(folder + "/sample.mp4", int(films.width()) * by, 2 * int(films.height()) * by + kGap, 5);
    for (int64_t i = -s.context_frames; i < s.frames; i++) {
      RolloutStart at = start;
      at.context += std::min(i, recorded - 1);
      const Image seen = film_frame(films.recorded({at}, 1), 0, 0);
      const Image pair[] = {enlarged(seen, by), enlarged(i < 0 ? seen : film_frame(made, 0, i), by)};
      video.add(contact_sheet(pair, 1, kGap));
    }
    video.finish();
  }
  nlohmann::json result = {{"frames", s.frames},
                           {"ms_per_frame", ms_per_frame},
                           {"context_recomputed", sampler.frames_recomputed()},
                           {"log", source.log->where},
                           {"first_frame", start.frame(s.context_frames)},
                           {"anchor_index", start.anchor},
                           {"settings", to_json(s, sample_fields())},
                           {"strip", folder + "/sample.png"}};
  result["video"] = has_video() ? nlohmann::json(folder + "/sample.mp4") : nullptr;
  std::string quality;
  if (s.pose == "log" && recorded == s.frames) {
    const std::vector<ImageScore> scores = scorer.compare(made, truth);
    for (const ImageScore& score : scores) result["psnr_db"].push_back(score.psnr_db);
    quality =
        format("; {:.2f} dB at the first frame, {:.2f} dB at the last", scores.front().psnr_db, scores.back().psnr_db);
  }
  std::printf("%s, frames %lld to %lld: %.1f ms per frame, %lld frames of context recomputed%s; %s\n",
              source.log->where.c_str(), static_cast<long long>(start.frame(s.context_frames)),
              static_cast<long long>(start.frame(s.context_frames + s.frames - 1)), ms_per_frame,
              static_cast<long long>(sampler.frames_recomputed()), quality.c_str(), (folder + "/sample.png").c_str());
  if (!o.common.json.empty()) write_file(o.common.json, result.dump(1) + "\n");
  return kDone;
}

}  // namespace

void add_sample(Command& app, Body& body) {
  auto options = std::make_shared<SampleOptions>();
  Command command = app.add_subcommand("sample", "a world model's rollout from a driving log, as video and pictures");
  add_common(command, options->common);
  command.add_option("--world", options->world, "checkpoint of `train world`").required();
  command.add_option("--tokenizer", options->tokenizer, "checkpoint of the tokenizer whose latents it was trained on");
  add_options(command, options->s, sample_fields());
  add_options(command, options->data, source_fields());
  command.callback([options, &body] { body = [options] { return sample(*options); }; });
}

}  // namespace dr::cli
