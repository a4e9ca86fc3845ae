// eval world: how true a world model's frames are, on logs that it was not trained on.
//
//   next frame    given the true frames before it and the anchors behind it
//   sequential    rollouts that see their own frames, poses as driven
//   deviation     rollouts whose poses leave the log's sideways and that go on to the last anchor's time, as Goff et al.'s
//                 do, and what the pose network sees in them
// Each beside the last true frame held, beside that frame moved by the motion alone where the model begins from it, and
// beside what the tokenizer leaves of the true frames.

#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numeric>

#include "io/file.h"
#include "io/loader.h"
#include "io/sheet.h"
#include "io/text.h"
#include "train/commands/eval.h"
#include "train/read_lpips.h"
#include "train/world_films.h"
#include "train/world_ruler.h"

namespace dr::cli {

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kFreeFrames = 5;  // behind a deviation, when its offset is held: those that are measured
constexpr uint64_t kHeldOutDrives = 0xe7a1;  // of drive_seed: no training with the same seed has them

struct EvalSettings : RolloutSettings {
  int64_t samples = 96, rollouts = 16, rollout_frames = 20, deviations = 8, batch = 8;
  double deviation_m = 0.5;
  std::string targets;
};

const Fields<EvalSettings>& eval_fields() {
  using S = EvalSettings;
  static const Fields<S> list = [] {
    Fields<S> own = {
        {"samples", &S::samples, "next frames, evenly over the logs", 1, 1e6},
        {"rollouts", &S::rollouts, "sequential rollouts; 0: none", 0, 1e5},
        {"rollout-frames", &S::rollout_frames, "generated frames of each, or as many as the logs hold", 1,
         kWindowFrames - 1},
        {"deviations", &S::deviations, "starts of lateral deviations, with --pose; 0: none", 0, 1e5},
        {"deviation-m", &S::deviation_m, "m, how far aside they go, both ways", 0, 3},
        {"targets", &S::targets, "A:B, only these frames of each log are generated; none: all"},
        {"batch", &S::batch, "rollouts at a time; never changes a result", 1, 1024},
    };
    for (const Field<S>& f : rollout_fields<S>()) own.push_back(f);
    return own;
  }();
  return list;
}

struct EvalWorldOptions {
  Common common;
  std::string world, tokenizer, pose, lpips;
  DataSettings data{.drives = 8};
  EvalSettings s;
};

double since(std::chrono::steady_clock::time_point t) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - t).count();
}

// ---- where rollouts begin ----

// Up to `wanted` starts of rollouts of `frames` generated frames, evenly over all places in the logs where one fits and
// the vehicle is no slower than `least_mps` on average.
std::vector<RolloutStart> places(const std::vector<LatentLog>& logs, const WorldModelConfig& config,
                                 const EvalSettings& s, int64_t frames, int64_t wanted, double least_mps) {
  const auto [low, high] =
      parse_frames("--targets", s.targets).value_or(FrameInterval{0, std::numeric_limits<int64_t>::max()});
  const int64_t last = s.context_frames + frames - 1;  // index
  const int64_t anchor = s.first_anchor(config, frames);
  std::vector<RolloutStart> all, chosen;
  if (anchor + config.anchors <= last && config.anchors > 0) return chosen;
  const int64_t needed = config.anchors > 0 ? anchor + config.anchors : last + 1;
  for (const LatentLog& l : logs) {
    const int64_t step = frames_to_5_hz(*l.log);
    for (int64_t first = 0; first + (needed - 1) * step < l.log->frame_count(); first++) {
      const RolloutStart start{&l, first, step, s.context_frames, anchor, 0};
      if (start.frame(s.context_frames) < low || start.frame(last) >= high) continue;
      const Pose moved = relative(start.pose(s.context_frames - 1), start.pose(last));
      if (std::hypot(moved.at[0], moved.at[1]) < least_mps * kFrameS * double(frames)) continue;
      all.push_back(start);
    }
  }
  const auto count = int64_t(all.size()), n = std::min(wanted, count);
  for (int64_t k = 0; k < n; k++) {
    chosen.push_back(all[size_t((2 * k + 1) * count / (2 * n))]);
    chosen.back().number = uint64_t(k);
  }
  return chosen;
}

// ---- what is measured ----

// Curves over the frames of a rollout, or the one number of a next frame.
struct Compared {
  int64_t films = 0;
  std::vector<ImageScore> generated, likeliest, forecast, held, reconstructed;  // likeliest: at temperature 0
  std::vector<RolloutStart> starts;
  Films truth, made, last, through_tokenizer;
};

nlohmann::json curve(const std::vector<ImageScore>& scores, double ImageScore::*which) {
  nlohmann::json list = nlohmann::json::array();
  for (const ImageScore& s : scores) list.push_back(s.*which);
  return list;
}

// Rollouts along the log, and displaced to both sides from the same starts with the same noise.
struct Deviations {
  std::vector<RolloutStart> starts;
  Films left, along, right;
};

// Pictures beside one another, and what stands at their rows and columns.
struct Strip {
  std::string name;
  std::vector<std::string> rows, heads;
  std::vector<Image> images;  // row by row
};

class WorldEvaluation {
 public:
  WorldEvaluation(const LoadedWorldModel& world, const FilmMaker& films, const ImageScorer& scorer,
                  const std::vector<LatentLog>& logs, const EvalSettings& settings,
                  const SamplerSettings& sampling)
      : world_(world), films_(films), scorer_(scorer), logs_(logs), s_(settings), sampling_(sampling) {}

  Compared compared(const std::vector<RolloutStart>& starts, int64_t frames) const {
    Compared c;
    c.starts = starts, c.films = int64_t(starts.size());
    std::vector<std::vector<Pose>> tracks;
    for (const RolloutStart& s : starts) tracks.push_back(log_track(s, frames));
    c.truth = films_.recorded(starts, frames);
    c.made = films_.generated(starts, tracks, sampling_, s_.batch);
    c.last = films_.held(starts, frames);
    c.through_tokenizer = films_.reconstructed(starts, frames);
    c.generated = scorer_.compare(c.made, c.truth);
    SamplerSettings likeliest = sampling_;
    likeliest.temperature = 0;
    c.likeliest = sampling_.temperature == 0
                      ? c.generated
                      : scorer_.compare(films_.generated(starts, tracks, likeliest, s_.batch), c.truth);
    if (world_.model->config().level_road) c.forecast = scorer_.compare(films_.forecast(starts, tracks, s_.batch), c.truth);
    c.held = scorer_.compare(c.last, c.truth);
    c.reconstructed = scorer_.compare(c.through_tokenizer, c.truth);
    return c;
  }

  Compared next_frame() const {
    const std::vector<RolloutStart> starts = places(logs_, world_.model->config(), s_, 1, s_.samples, 0);
    CHECK(!starts.empty(),
          "{}: no frame{} has {} frames at 5 Hz before it and {} anchors from {} frames on behind it; accepted: fewer "
          "--context-frames, a smaller --anchor-gap",
          logs_[0].log->where, s_.targets.empty() ? "" : " of --targets " + s_.targets, s_.context_frames,
          world_.model->config().anchors, s_.anchor_gap);
    return compared(starts, 1);
  }

  // As many frames as asked for, or as the logs hold.
  std::optional<Compared> sequential() const {
    if (s_.rollouts == 0) return {};
    for (int64_t frames = s_.rollout_frames; frames > 1; frames--) {
      const std::vector<RolloutStart> starts = places(logs_, world_.model->config(), s_, frames, s_.rollouts, 0);
      if (!starts.empty()) return compared(starts, frames);
    }
    return {};
  }

  // Nothing where no log is long enough.
  std::optional<Deviations> deviations() const {
    if (s_.deviations == 0) return {};
    constexpr double kLeastMps = 3;
    EvalSettings to_the_end = s_;  // the last generated frame is taken at the last anchor's time
    to_the_end.anchor_gap = 1 - world_.model->config().anchors;
    const std::vector<RolloutStart> starts = places(logs_, world_.model->config(), to_the_end,
                                                    kDeviationFrames + kFreeFrames, s_.deviations, kLeastMps);
    if (starts.empty()) return {};
    const auto rolled = [&](double right_m) {
      std::vector<std::vector<Pose>> tracks;
      for (const RolloutStart& s : starts) tracks.push_back(deviated_track(s, kDeviationFrames + kFreeFrames, right_m));
      return films_.generated(starts, tracks, sampling_, s_.batch);
    };
    return Deviations{starts, rolled(-s_.deviation_m), rolled(0), rolled(s_.deviation_m)};
  }

  Strip deviation_strip(const Deviations& d) const {
    Strip strip{
        "deviation",
        {"true", "along the log", format("{:g} m left", s_.deviation_m), format("{:g} m right", s_.deviation_m)},
        {},
        {}};
    const size_t which = d.starts.size() / 2;
    const Films truth = films_.recorded(d.starts, d.along.frames);
    for (const Films* f : {&truth, &d.along, &d.left, &d.right})
      for (int64_t i = 9; i < d.along.frames; i += 5) strip.images.push_back(film_frame(*f, which, i));
    for (int64_t i = 9; i < d.along.frames; i += 5) strip.heads.push_back(format("{:.1f} s", kFrameS * double(i + 1)));
    return strip;
  }

  Strip next_frame_strip(const Compared& c) const {
    constexpr size_t kColumns = 4;
    Strip strip{"next_frame", {"true", "generated", "last frame held", "tokenizer"}, {}, {}};
    std::vector<size_t> picked;
    for (size_t k = 0; k < std::min(kColumns, c.starts.size()); k++)
      picked.push_back((2 * k + 1) * c.starts.size() / (2 * std::min(kColumns, c.starts.size())));
    for (const Films* f : {&c.truth, &c.made, &c.last, &c.through_tokenizer})
      for (size_t i : picked) strip.images.push_back(film_frame(*f, i, 0));
    for (size_t i : picked) strip.heads.push_back(format("sample {}", i + 1));
    return strip;
  }

  // One rollout, at up to kColumns of its frames.
  Strip sequential_strip(const Compared& c) const {
    constexpr int64_t kColumns = 5;
    Strip strip{"sequential", {"true", "generated", "last frame held"}, {}, {}};
    const int64_t frames = c.made.frames, columns = std::min(kColumns, frames);
    const size_t which = c.starts.size() / 2;
    std::vector<int64_t> picked;
    for (int64_t k = 0; k < columns; k++) picked.push_back(columns == 1 ? 0 : k * (frames - 1) / (columns - 1));
    for (const Films* f : {&c.truth, &c.made, &c.last})
      for (int64_t i : picked) strip.images.push_back(film_frame(*f, which, i));
    for (int64_t i : picked) strip.heads.push_back(format("{:.1f} s", kFrameS * double(i + 1)));
    return strip;
  }

 private:
  const LoadedWorldModel& world_;
  const FilmMaker& films_;
  const ImageScorer& scorer_;
  const std::vector<LatentLog>& logs_;
  const EvalSettings& s_;
  SamplerSettings sampling_;
};

// ---- what is said ----

std::string number(double v, int digits) { return std::isfinite(v) ? format("{:.{}f}", v, digits) : "-"; }

void print_scores(const Compared& next, const std::optional<Compared>& sequential, const EvalSettings& s, bool lpips) {
  std::vector<std::vector<std::string>> rows = {{"", "PSNR, dB", "SSIM", lpips ? "LPIPS" : ""}};
  const auto row = [&](const std::string& name, const std::vector<ImageScore>& of) {
    const ImageScore m = mean(of);
    rows.push_back({name, number(m.psnr_db, 2), number(m.ssim, 3), lpips ? number(m.lpips, 3) : ""});
  };
  row(format("next frame, {} generated at temperature {:g}", next.films, s.temperature), next.generated);
  if (s.temperature != 0) row("  at temperature 0", next.likeliest);
  if (!next.forecast.empty()) row("  its forecast alone", next.forecast);
  row("  the last frame held", next.held);
  row("  the tokenizer alone", next.reconstructed);
  std::printf("%s", aligned(rows, "lrrr").c_str());
  if (!sequential) return;
  std::vector<std::vector<std::string>> table = {{format("{} rollouts, PSNR in dB after", sequential->films)}};
  const auto frames = sequential->generated.size();
  std::vector<size_t> shown;
  for (size_t at : {size_t(1), size_t(2), size_t(5), size_t(10), size_t(15), frames})
    if (at <= frames && (shown.empty() || at > shown.back())) shown.push_back(at);
  for (size_t at : shown) table[0].push_back(format("{:.1f} s", kFrameS * double(at)));
  const auto line = [&](const std::string& name, const std::vector<ImageScore>& of) {
    table.push_back({name});
    for (size_t at : shown) table.back().push_back(number(of[at - 1].psnr_db, 2));
  };
  line("  generated", sequential->generated);
  if (s.temperature != 0) line("  at temperature 0", sequential->likeliest);
  if (!sequential->forecast.empty()) line("  their forecasts alone", sequential->forecast);
  line("  the last frame held", sequential->held);
  line("  the tokenizer alone", sequential->reconstructed);
  std::printf("%s", aligned(table, "lrrrrrrr").c_str());
}

int eval_world(const EvalWorldOptions& o) {
  const auto start = std::chrono::steady_clock::now();
  const SamplerSettings sampling = o.s.sampler(o.common.seed);
  Runtime runtime(o.common.runtime());
  const LoadedWorldModel world = load_world_model(runtime, o.world);
  const LatentCodec codec(runtime, o.tokenizer);
  const FilmMaker films(runtime, world, codec);
  if (!o.common.out.empty()) create_folder(o.common.out);
  const std::vector<LatentLog> logs = open_latent_logs(
      runtime, world, codec, o.data, o.data.data.empty() ? drive_seed(o.common.seed, kHeldOutDrives) : o.common.seed);
  std::optional<Lpips> lpips;
  if (!o.lpips.empty()) lpips = read_lpips(runtime, o.lpips);
  std::optional<PoseMeasure> ruler;
  if (!o.pose.empty()) {
    ruler.emplace(runtime, o.pose);
    const PoseNetworkOptions& size = ruler->network->options();
    CHECK(size.width == world.notes.width && size.height == world.notes.height,
          "{}: a pose network for frames of {} x {}; the world model's are {} x {}", o.pose, size.width, size.height,
          world.notes.width, world.notes.height);
  }
  ImageScorer::Distance distance;
  if (lpips) distance = [&](Tape& tape, const Tensor& a, const Tensor& b) { return lpips->distance(tape, a, b); };
  const ImageScorer scorer(runtime, distance);
  const WorldEvaluation evaluation(world, films, scorer, logs, o.s, sampling);
  if (!o.common.quiet)
    std::printf("%s: %.2fM parameters, weights %s, on %zu logs (%.1f s to load)\n", o.world.c_str(),
                double(world.parameters->count()) / 1e6, world.weights_hash.substr(0, 8).c_str(), logs.size(),
                since(start));

  nlohmann::json result = {{"parameters", world.parameters->count()}, {"weights_hash", world.weights_hash},
                           {"tokenizer_hash", codec.hash()},          {"world", o.world},
                           {"logs", logs.size()},                     {"settings", to_json(o.s, eval_fields())}};
  std::vector<Strip> strips;
  const Compared next = evaluation.next_frame();
  const auto put = [&](const std::string& prefix, const std::string& suffix, const std::vector<ImageScore>& scores,
                       bool one) {
    const auto figure = [&](const std::string& name, double ImageScore::*which) {
      result[prefix + name + suffix] = one ? nlohmann::json(mean(scores).*which) : curve(scores, which);
    };
    figure("psnr_db", &ImageScore::psnr_db);
    figure("ssim", &ImageScore::ssim);
    if (scorer.has_lpips()) figure("lpips", &ImageScore::lpips);
  };
  put("next_frame_", "", next.generated, true);
  put("next_frame_", "_at_temperature_0", next.likeliest, true);
  if (!next.forecast.empty()) put("forecast_", "", next.forecast, true);
  put("copy_last_", "", next.held, true);
  put("tokenizer_", "", next.reconstructed, true);
  result["temperature"] = o.s.temperature;
  result["samples"] = next.films, result["context_frames"] = o.s.context_frames;
  result["anchor_index"] = next.starts[0].anchor,
  result["first_anchor_after_frames"] = next.starts[0].anchor - o.s.context_frames;
  strips.push_back(evaluation.next_frame_strip(next));

  const std::optional<Compared> sequential = evaluation.sequential();
  if (sequential) {
    put("sequential_", "", sequential->generated, false);
    put("sequential_", "_at_temperature_0", sequential->likeliest, false);
    if (!sequential->forecast.empty()) put("forecast_sequential_", "", sequential->forecast, false);
    put("copy_last_sequential_", "", sequential->held, false);
    put("tokenizer_sequential_", "", sequential->reconstructed, false);
    result["rollouts"] = sequential->films, result["sequential_anchor_index"] = sequential->starts[0].anchor;
    strips.push_back(evaluation.sequential_strip(*sequential));
  } else {
    result["sequential_psnr_db"] = result["copy_last_sequential_psnr_db"] = nlohmann::json::array();
  }
  result["commanded_m"] = o.s.deviation_m;
  result["measured_left_m"] = result["measured_right_m"] = result["pose_net_slope_on_true_renders"] = nullptr;
  if (!o.common.quiet)
    std::printf("each from %lld true frames%s; the first anchor is %.1f s behind a next frame%s\n",
                static_cast<long long>(o.s.context_frames),
                o.s.targets.empty() ? "" : format(", which may lie before --targets {}", o.s.targets).c_str(),
                kFrameS * double(next.starts[0].anchor - o.s.context_frames),
                sequential ? format(", {:.1f} s behind the first frame of a rollout",
                                    kFrameS * double(sequential->starts[0].anchor - o.s.context_frames)).c_str()
                           : "");
  print_scores(next, sequential, o.s, scorer.has_lpips());
  if (ruler) {
    const PoseNetwork& network = *ruler->network;
    if (sequential && sequential->made.frames > 1) {
      const MotionErrors made = motion_errors(runtime, network, sequential->made, sequential->starts);
      const MotionErrors real = motion_errors(
          runtime, network, films.recorded(sequential->starts, sequential->made.frames), sequential->starts);
      result["speed_mae_mps"] = made.speed_mae_mps, result["true_frames_speed_mae_mps"] = real.speed_mae_mps;
      result["yaw_rate_mae_rad_s"] = made.yaw_rate_mae_rad_s,
      result["true_frames_yaw_rate_mae_rad_s"] = real.yaw_rate_mae_rad_s;
      std::printf(
          "motion in rollouts, as the pose network reads it: speed off by %.2f m/s, yaw rate by %.4f rad/s (in true "
          "frames "
          "%.2f, %.4f)\n",
          made.speed_mae_mps, made.yaw_rate_mae_rad_s, real.speed_mae_mps, real.yaw_rate_mae_rad_s);
    }
    if (const std::optional<Deviations> d = evaluation.deviations()) {
      const double slope =
          slope_on_true_renders(*ruler, 4, 10, drive_seed(o.common.seed, kHeldOutDrives + 1));
      const MeasuredDeviation left = measured_deviation(runtime, network, d->left, d->along, size_t(kFreeFrames)),
                              right = measured_deviation(runtime, network, d->right, d->along, size_t(kFreeFrames));
      for (int64_t k = 1; k <= d->along.frames; k++) {
        result["deviation_commanded_left_m"].push_back(-o.s.deviation_m * deviation_share(k));
        result["deviation_commanded_right_m"].push_back(o.s.deviation_m * deviation_share(k));
      }
      result["deviation_measured_left_m"] = left.curve_m, result["deviation_measured_right_m"] = right.curve_m;
      result["measured_left_m"] = left.last_m, result["measured_right_m"] = right.last_m;
      // Before the first anchor's time, what is seen is the model's own memory of the command.
      const int64_t before = std::min(d->along.frames, d->starts[0].anchor - o.s.context_frames);
      if (before >= kFreeFrames) {
        const auto mean_of = [&](const std::vector<double>& curve) {
          return std::accumulate(curve.begin() + (before - kFreeFrames), curve.begin() + before, 0.0) / double(kFreeFrames);
        };
        result["measured_left_before_anchors_m"] = mean_of(left.curve_m);
        result["measured_right_before_anchors_m"] = mean_of(right.curve_m);
      }
      result["pose_net_slope_on_true_renders"] = slope;
      result["deviations"] = d->starts.size(), result["deviation_anchor_index"] = d->starts[0].anchor;
      std::printf(
          "%zu rollouts deviate by %.2f m: %+.3f m to the left are measured, %+.3f m to the right; on true renders the "
          "ruler "
          "reads %.3f m per metre\n",
          d->starts.size(), o.s.deviation_m, left.last_m, right.last_m, slope);
      if (result.contains("measured_left_before_anchors_m"))
        std::printf("  in the five frames before the first anchor's time %+.3f and %+.3f m\n",
                    result["measured_left_before_anchors_m"].get<double>(),
                    result["measured_right_before_anchors_m"].get<double>());
      strips.push_back(evaluation.deviation_strip(*d));
    } else if (o.s.deviations > 0) {
      std::printf("no log has room for a deviation of %lld frames\n",
                  static_cast<long long>(kDeviationFrames + kFreeFrames));
    }
  }
  result["seconds"] = since(start);
  if (!o.common.quiet) std::printf("%.1f s\n", since(start));
  if (!o.common.out.empty()) {
    for (const Strip& s : strips) {
      const std::string file = s.name + ".png";
      write_png(o.common.out + "/" + file, contact_sheet(s.images, int(s.heads.size())));
      result["strips"][s.name] = {{"file", file}, {"rows", s.rows}, {"heads", s.heads}};
    }
    write_file(o.common.out + "/eval_world.json", result.dump(1) + "\n");
  }
  if (!o.common.json.empty()) write_file(o.common.json, result.dump(1) + "\n");
  return kDone;
}

}  // namespace

void add_eval(Command& app, Body& body) {
  Command eval = app.add_subcommand("eval", "measure a trained network");
  eval.require_subcommand();
  add_eval_world(eval, body);
}

void add_eval_world(Command& eval, Body& body) {
  auto options = std::make_shared<EvalWorldOptions>();
  Command command =
      eval.add_subcommand("world", "a world model's frames beside the true ones of logs that it has not seen");
  add_common(command, options->common);
  command.add_option("--world", options->world, "checkpoint of `train world`").required();
  command.add_option("--tokenizer", options->tokenizer, "checkpoint of the tokenizer whose latents it was trained on");
  command.add_option("--pose", options->pose, "checkpoint of `train pose`: measures motion and lateral deviations");
  command.add_option("--lpips", options->lpips, "weights of LPIPS (bench/peers/lpips_weights.py)");
  add_options(command, options->s, eval_fields());
  add_options(command, options->data, source_fields());
  command.callback([options, &body] { body = [options] { return eval_world(*options); }; });
}

}  // namespace dr::cli
