// train pose: trains the pose network on the built-in world seen from displaced vehicles, and measures it on drives
// that it has not seen.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>

#include "io/file.h"
#include "kernels/float_to_image/float_to_image.h"
#include "kernels/image_to_float/image_to_float.h"
#include "kernels/smooth_l1/smooth_l1.h"
#include "train/commands/train.h"
#include "train/dataset.h"
#include "train/latents.h"
#include "train/pose_frames.h"
#include "train/pose_measure.h"
#include "train/trainer.h"

namespace dr::cli {

namespace {

struct PoseSettings {
  int64_t drives = 120, eval_drives = 12;  // many short ones: each is a world of its own
  double seconds = 20, wander = 0.2;
  double shift = 1.2, turn = 3;
  bool degrade = true;
  std::string camera = "narrow", tokenizer;
};
const Fields<PoseSettings>& pose_fields() {
  using S = PoseSettings;
  static const Fields<S> list = {
      {"drives", &S::drives, "drives of the built-in world to learn from", 1, 100000},
      {"eval-drives", &S::eval_drives, "further drives to measure on", 1, 1000},
      {"seconds", &S::seconds, "length of each", 1, 3600},
      {"wander", &S::wander, "m, standard deviation of the driver's place in the lane", 0, 1.5},
      {"shift", &S::shift, "m, how far sideways the vehicle is moved at most", 0, 1.5},
      {"turn", &S::turn, "degrees, how far it is turned at most", 0, 10},
      {"degrade", &S::degrade, "train on frames of changed contrast, with noise and blur"},
      {"camera", &S::camera, "narrow or wide: comma's two cameras, which it sees by"},
      {"tokenizer", &S::tokenizer, "checkpoint; every other drive is then learnt from as its latents show it"},
  };
  return list;
}

TrainerSettings pose_training() {
  TrainerSettings t;
  t.steps = 1000, t.batch = 32, t.leaf_samples = 16, t.lr = 2e-3, t.warmup = 50, t.cosine_tail = 0.6, t.average = 0.99;
  return t;
}

struct TrainPoseOptions {
  Common common;
  PoseSettings data;
  PoseNetworkOptions network;
  TrainerSettings training = pose_training();
  std::string log;
  bool resume = false;
};

// Drives that training and measuring share no seed of.
sim::Drive drive_number(const TrainPoseOptions& o, int64_t index) {
  sim::DriveSettings s;
  s.seed = drive_seed(o.common.seed, uint64_t(index));
  s.seconds = o.data.seconds, s.wander_m = o.data.wander;
  s.camera = sim::Camera::named(o.data.camera).resized(int(o.network.width), int(o.network.height));
  return sim::Drive(s);
}

// The frames as they come back from latents.
std::vector<uint8_t> reconstructed(Runtime& runtime, const Tokenizer& tokenizer, const PoseFrames& f) {
  constexpr int64_t kAtATime = 16;
  std::vector<uint8_t> all;
  for (int64_t i = 0; i < f.count(); i += kAtATime) {
    const int64_t n = std::min(kAtATime, f.count() - i);
    const Tensor bytes = runtime.empty(DType::u8, {n, f.height, f.width, 3});
    bytes.copy_from(std::span(f.frame(i), size_t(n) * f.frame_bytes()));
    Tape tape(runtime, {.gradients = false});
    const Tensor latents = tokenizer.encode(tape, tape.apply(ImageToFloat{}, bytes));
    const std::vector<uint8_t> some = tape.apply(FloatToImage{}, tokenizer.decode(tape, latents)).to_vector<uint8_t>();
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

// A step's pairs, drawn from all frames; one in 32 shows a vehicle that stands.
class PoseObjective {
 public:
  PoseObjective(Runtime& runtime, const PoseNetwork& network, const std::vector<PoseFrames>& drives, bool degrade,
                uint64_t seed)
      : runtime_(runtime), network_(network), drives_(drives), degrade_(degrade), seed_(seed) {
    for (const PoseFrames& d : drives) ends_.push_back((ends_.empty() ? 0 : ends_.back()) + d.count());
  }

  Losses operator()(const StepInfo& info) const {
    constexpr size_t kOutputs = kPoseOutputs.size();
    const int64_t h = network_.options().height, w = network_.options().width, n = info.samples;
    std::vector<float> pairs(size_t(n * h * w * 6)), target(size_t(n) * kOutputs), weight(target.size());
    runtime_.context().parallel(n, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        constexpr uint32_t kUse = 0x505e0000;
        constexpr uint64_t kChoice = 1 << 22;  // a block that pose_pair does not use
        const RandomStream stream{seed_, uint32_t(info.step), kUse + uint32_t(info.first_sample + i)};
        const PhiloxWords choice = random_block(stream, kChoice);
        const int64_t at = int64_t(uint64_t{choice.x[0]} * uint64_t(ends_.back()) >> 32);
        const size_t drive = size_t(std::upper_bound(ends_.begin(), ends_.end(), at) - ends_.begin());
        const PoseFrames& frames = drives_[drive];
        const int64_t now = at - ends_[drive] + frames.count();
        const bool stands = now == 0 || choice.x[1] % 32 == 0;
        pose_pair(frames.frame(stands ? now : now - 1), frames.frame(now), h, w, stream, degrade_,
                  &pairs[size_t(i * h * w * 6)]);
        const sim::Motion motion = stands ? sim::Motion{} : frames.motion[size_t(now)];
        const PoseLabel label = pose_label(motion, frames.place[size_t(now)]);
        for (size_t k = 0; k < kOutputs; k++) {
          target[k * size_t(n) + size_t(i)] = label.value[k];
          weight[k * size_t(n) + size_t(i)] = label.weight[k];
        }
      }
    });
    return [this, n, h, w, pairs = std::move(pairs), target = std::move(target), weight = std::move(weight)](
               Tape& tape, const Tensor&) {
      const Tensor y = network_.apply(tape, runtime_.from(pairs, {n, h, w, 6}));
      const Sizes by_output{int64_t(kOutputs), n, 1};
      const Tensor wanted = runtime_.from(target, by_output), weights = runtime_.from(weight, by_output);
      std::vector<Loss> losses;
      for (size_t k = 0; k < kOutputs; k++) {
        const int64_t c = int64_t(k);
        auto column = [&](const Tensor& t) { return t.slice(0, c, 1).reshape({n, 1}); };
        losses.push_back({std::string(kPoseOutputs[k].name),
                          tape.apply(SmoothL1{.beta = 0.2f}, tape.slice(y, 1, c, 1), column(wanted), column(weights))});
      }
      return losses;
    };
  }

 private:
  Runtime& runtime_;
  const PoseNetwork& network_;
  const std::vector<PoseFrames>& drives_;
  std::vector<int64_t> ends_;  // of each drive among all frames
  bool degrade_;
  uint64_t seed_;
};

// ---- measuring ----

struct PoseErrors {
  double speed_mae_mps = 0, yaw_rate_mae_rad_s = 0, lane_offset_mae_m = 0, heading_mae_rad = 0;
  double slope = 0, slope_left = 0, slope_right = 0;  // of measured deviation against true deviation

  nlohmann::json json() const {
    return {{"speed_mae_mps", speed_mae_mps},
            {"yaw_rate_mae_rad_s", yaw_rate_mae_rad_s},
            {"lane_offset_mae_m", lane_offset_mae_m},
            {"heading_mae_rad", heading_mae_rad},
            {"slope_on_true_renders", slope},
            {"slope_on_true_renders_left", slope_left},
            {"slope_on_true_renders_right", slope_right}};
  }
};

// What is done to frames before they are read.
using FrameChange = std::function<std::vector<uint8_t>(const PoseFrames&)>;

// The drives as driven, and 0.5 m to the left and to the right.
PoseErrors measure(Runtime& runtime, const PoseNetwork& network, const std::vector<std::array<PoseFrames, 3>>& drives,
                   const FrameChange& change) {
  PoseErrors e;
  double frames = 0, placed = 0, xy[2] = {0, 0}, xx[2] = {0, 0};  // left, right
  for (const auto& drive : drives) {
    std::array<std::vector<PoseReading>, 3> readings;
    for (size_t k = 0; k < 3; k++) {
      const PoseFrames& f = drive[k];
      readings[k] = read_poses(runtime, network, runtime.from(change(f), {f.count(), f.height, f.width, 3}));
      for (size_t i = 1; i < readings[k].size(); i++) {
        const PoseReading& r = readings[k][i];
        const sim::LanePlace& place = f.place[i];
        frames++;
        e.speed_mae_mps += std::fabs(r.speed_mps - f.motion[i].forward_m / kFrameS);
        e.yaw_rate_mae_rad_s += std::fabs(r.yaw_rate_rad_s - f.motion[i].yaw_rad / kFrameS);
        e.heading_mae_rad += std::fabs(r.heading_rad - place.heading_rad);
        if (!place.between) placed++, e.lane_offset_mae_m += std::fabs(r.lane_offset_m - place.offset_m);
      }
    }
    for (size_t k : {0, 2})
      for (size_t i = 1; i < readings[1].size(); i++) {
        const sim::LanePlace &moved = drive[k].place[i], &driven = drive[1].place[i];
        if (moved.between || driven.between || moved.lane != driven.lane) continue;
        const double x = moved.offset_m - driven.offset_m;
        const double y = readings[k][i].lane_offset_m - readings[1][i].lane_offset_m;
        xy[k / 2] += x * y, xx[k / 2] += x * x;
      }
  }
  for (double* sum : {&e.speed_mae_mps, &e.yaw_rate_mae_rad_s, &e.heading_mae_rad}) *sum /= frames;
  e.lane_offset_mae_m /= placed;
  e.slope = (xy[0] + xy[1]) / (xx[0] + xx[1]), e.slope_left = xy[0] / xx[0], e.slope_right = xy[1] / xx[1];
  return e;
}

// Averaged over squares of 2 x 2 pixels.
std::vector<uint8_t> blurred(const PoseFrames& f) {
  std::vector<uint8_t> to(f.rgb.size());
  const size_t row = size_t(f.width * 3);
  for (size_t top = 0; top < to.size(); top += 2 * row)
    for (size_t x = 0; x < row; x += 6)
      for (size_t c = x; c < x + 3; c++) {
        const size_t at[] = {top + c, top + c + 3, top + row + c, top + row + c + 3};
        int sum = 2;
        for (size_t i : at) sum += f.rgb[i];
        for (size_t i : at) to[i] = uint8_t(sum / 4);
      }
  return to;
}

int train_pose(const TrainPoseOptions& o) {
  const Common& c = o.common;
  if (!o.log.empty()) {
    const DrivingLog log = open_log(dataset_paths(o.log).front());
    fail("train pose: {}: not trained: a log shows the road from where it was driven{}, and the pose network learns "
         "from displaced cameras with known lanes, which the built-in world has; leave --data out", log.where,
         log.lane_offset ? "" : ", and this one has no lane labels");
  }
  const std::string folder = training_folder(c);
  Runtime runtime(c.runtime());
  create_folder(folder);
  using Clock = std::chrono::steady_clock;
  auto since = [](Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); };

  LoadedTokenizer tokenizer;
  if (!o.data.tokenizer.empty()) {
    tokenizer = load_tokenizer(runtime, o.data.tokenizer);
    CHECK(tokenizer.width == o.network.width && tokenizer.height == o.network.height,
          "{}: a tokenizer of {} x {} pixels; --width and --height ask for {} x {}", o.data.tokenizer, tokenizer.width,
          tokenizer.height, o.network.width, o.network.height);
  }
  Parameters parameters(runtime);
  const PoseNetwork network(parameters, "pose", o.network);
  const auto rendering = Clock::now();
  const Displacement displacement{o.data.shift, o.data.turn * sim::kPi / 180};
  std::vector<PoseFrames> drives;
  for (int64_t i = 0; i < o.data.drives; i++) {
    const sim::Drive drive = drive_number(o, i);
    drives.push_back(render_pose_frames(runtime, drive, displaced_track(drive, displacement)));
    if (tokenizer.tokenizer && i % 2 == 1)
      drives.back().rgb = reconstructed(runtime, *tokenizer.tokenizer, drives.back());
  }
  const double data_s = since(rendering);
  if (!c.quiet) {
    int64_t frames = 0;
    for (const PoseFrames& d : drives) frames += d.count();
    const std::string line = format("pose: {} parameters, {} frames of {} x {} from displaced drives ({:.1f} s)",
                                    parameters.count(), frames, o.network.width, o.network.height, data_s);
    std::printf("%s\n", line.c_str());
  }

  TrainingRun run;
  run.kind = run.label = "pose";
  run.settings = to_json(o.data, pose_fields());
  run.settings.update(to_json(o.network, pose_network_fields()));
  run.settings.update(to_json(o.training, trainer_fields()));
  run.settings["seed"] = c.seed;
  run.checkpoint = folder + "/pose.safetensors", run.log = folder + "/pose.log.jsonl";
  run.resume = o.resume, run.quiet = c.quiet;
  const PoseObjective objective(runtime, network, drives, o.data.degrade, c.seed);
  Trainer trainer(runtime, parameters, o.training, c.seed, objective);
  Recording recording(runtime, c);
  const TrainingResult result = run_training(runtime, parameters, trainer, run);
  recording.finish();
  nlohmann::json json = result.json();
  json["checkpoint"] = run.checkpoint, json["data_seconds"] = data_s;
  if (!result.interrupted) {
    const auto measuring = Clock::now();
    trainer.use_average();
    std::vector<std::array<PoseFrames, 3>> unseen;
    for (int64_t i = 0; i < o.data.eval_drives; i++) {
      const sim::Drive drive = drive_number(o, o.data.drives + i);
      auto moved = [&](double right_m) { return render_pose_frames(runtime, drive, moved_track(drive, right_m)); };
      unseen.push_back({moved(-0.5), moved(0), moved(0.5)});
    }
    auto report = [&](const char* what, const FrameChange& change) {
      const PoseErrors e = measure(runtime, network, unseen, change);
      std::printf("pose: unseen drives%s: speed off by %.2f m/s, yaw rate by %.4f rad/s, lane offset by %.3f m, "
                  "heading by %.4f rad; 0.5 m left is measured as %.3f, right as %.3f\n",
                  what, e.speed_mae_mps, e.yaw_rate_mae_rad_s, e.lane_offset_mae_m, e.heading_mae_rad,
                  0.5 * e.slope_left, 0.5 * e.slope_right);
      return e.json();
    };
    json.update(report("", [](const PoseFrames& f) { return f.rgb; }));
    json["blurred"] = report(", blurred", blurred);
    if (tokenizer.tokenizer)
      json["reconstructed"] = report(", from latents", [&](const PoseFrames& f) {
        return reconstructed(runtime, *tokenizer.tokenizer, f);
      });
    json["eval_seconds"] = since(measuring);
  }
  if (!c.json.empty()) write_file(c.json, json.dump(1) + "\n");
  return result.interrupted ? kInterrupted : kDone;
}

}  // namespace

void add_train_pose(Command& train, Body& body) {
  auto options = std::make_shared<TrainPoseOptions>();
  Command command = train.add_subcommand("pose", "the network that measures motion and lane offset in frames");
  add_common(command, options->common);
  add_options(command, options->data, pose_fields());
  add_options(command, options->network, pose_network_fields());
  add_options(command, options->training, trainer_fields());
  command.add_option("--data", options->log, "refused: a log has no displaced cameras to learn from");
  command.add_flag("--resume", options->resume, "go on from the checkpoint in --out");
  command.callback([options, &body] { body = [options] { return train_pose(*options); }; });
}

}  // namespace dr::cli
