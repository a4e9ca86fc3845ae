// train world: the world model, from latents of driving logs.

#include <chrono>
#include <cstdio>

#include "io/file.h"
#include "io/nearest.h"
#include "train/commands/train.h"
#include "train/forecast.h"
#include "train/world_checkpoint.h"
#include "train/world_data.h"

namespace dr::cli {

namespace {

// The defaults are the preset `demo`: 1200 steps take some four minutes on two cores.
struct WorldSettings {
  DataSettings data{.wander = 0.35};
  TrainerSettings trainer{.steps = 1200, .batch = 2, .lr = 1.5e-3, .beta2 = 0.95, .warmup = 50, .cosine_tail = 0.8,
                          .average = 0.995, .save_every = 250};
  WorldModelConfig network{.layers = 4, .channels = 192, .heads = 6, .anchors = 5, .level_road = true};
  WorldObjectiveSettings objective{.sequence = 10, .noise_probability = 0.1, .noise_mean = -2};
};

// Sizes of `gpt` to `gpt-large`: Goff et al. 2025, arXiv:2504.19077, section 4.2.1, after GPT-2's.
WorldSettings preset(const std::string& name) {
  WorldSettings s;
  WorldModelConfig& n = s.network;
  if (name == "demo") {
  } else if (name == "tiny") {
    s.data.drives = 2, s.data.seconds = 20, s.data.width = 64, s.data.height = 32;
    s.trainer.steps = 20, s.trainer.batch = 2, s.trainer.log_every = 1;
    n.layers = 2, n.channels = 32, n.heads = 2, n.anchors = 2, n.window = 3;
    s.objective.sequence = 5, s.objective.window_frames = 20;
  } else if (name == "kitti") {
    s.data.width = 192, s.data.height = 48;
    n.anchors = 2;
    s.trainer.steps = 400;
    s.objective.sequence = 8, s.objective.window_frames = 20;
  } else if (name.starts_with("gpt")) {
    s.data.width = 256, s.data.height = 128;
    s.trainer.batch = 8, s.trainer.steps = 100000, s.trainer.lr = 2e-4, s.trainer.warmup = 512, s.trainer.cosine_tail = 0.5,
    s.trainer.average = 0.9999;
    n.anchors = 5;
    s.objective = {};
    s.objective.sequence = 10;
    s.objective.recompute = 1000;  // all
    n = gpt_world_model();
    if (name == "gpt-medium") n.layers = 24, n.channels = 1024, n.heads = 16;
    if (name == "gpt-large") n.layers = 36, n.channels = 1280, n.heads = 20;
  }
  return s;
}
const std::vector<std::string> kPresets = {"tiny", "demo", "kitti", "gpt", "gpt-medium", "gpt-large"};

struct TrainWorldOptions {
  Common common;
  std::string preset = "demo", tokenizer, init;
  WorldSettings s;
  bool resume = false;
};

std::string bytes_text(double bytes) {
  return bytes < 1e9 ? format("{:.0f} MB", bytes / 1e6) : format("{:.1f} GB", bytes / 1e9);
}

int train_world(const TrainWorldOptions& o) {
  const std::string folder = training_folder(o.common);
  WorldModelConfig network = o.s.network;
  constexpr int64_t f = Tokenizer::kReduction;
  CHECK(o.s.data.width % (f * network.patch) == 0 && o.s.data.height % (f * network.patch) == 0,
        "frames of {} x {}: --width and --height must be multiples of {}, the side of a token", o.s.data.width, o.s.data.height,
        f * network.patch);
  network.rows = o.s.data.height / f, network.columns = o.s.data.width / f;
  Runtime runtime(o.common.runtime());
  create_folder(folder);

  Parameters parameters(runtime);
  const WorldModel model(parameters, network);
  const TrainerSettings& t = o.s.trainer;
  const int64_t micro = t.micro_batch ? t.micro_batch : t.batch, tokens = network.tokens();
  const int64_t frames = network.anchors + o.s.objective.sequence + (o.s.objective.many_targets ? o.s.objective.sequence - 1 : 0);
  const double state = double(parameters.count()) * 4 * (t.average > 0 ? 5 : 4);
  // What a block keeps for backward, in tokens' widths: its result, qkv, what attention gives, its projection with and
  // without the residual, and the MLP's result; and the MLP's hidden layer. Made again: that layer and the projection.
  const int64_t units = (8 + network.mlp_ratio) * network.layers -
                        (2 + network.mlp_ratio) * std::min(network.layers, o.s.objective.recompute);
  const double kept = double(micro * frames * tokens) * double(units * network.channels) * 4;
  if (!o.common.quiet)
    std::printf("world: preset %s, %.2fM parameters; weights, gradients, optimiser and average %s, activations about %s\n",
                o.preset.c_str(), double(parameters.count()) / 1e6, bytes_text(state).c_str(), bytes_text(kept).c_str());

  const auto start = std::chrono::steady_clock::now();
  const LatentCodec codec(runtime, o.tokenizer);
  const Logs logs = open_dataset(runtime, o.s.data, o.common.seed);
  const WorldData data(runtime, codec.encode(logs, o.s.data), Forecaster(runtime, codec, network.level_road), network,
                       o.s.objective, o.common.seed);
  if (!o.common.quiet)
    std::printf("world: %zu logs, %llu windows, latents by %s (%.1f s); sequences of %lld anchors, %lld clean frames and %lld "
                "noised ones, %lld tokens each\n",
                logs.size(), static_cast<unsigned long long>(data.windows()), codec.words().c_str(),
                std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
                static_cast<long long>(network.anchors), static_cast<long long>(data.clean_frames()),
                static_cast<long long>(data.targets()), static_cast<long long>(tokens));

  Trainer trainer(runtime, parameters, t, o.common.seed, data.objective(model, t.batch));
  nlohmann::json settings = to_json(t, trainer_fields());
  settings.update(to_json(network, world_model_fields()));
  settings.update(to_json(o.s.objective, world_objective_fields()));
  settings.update(to_json(o.s.data, data_fields()));
  settings["preset"] = o.preset, settings["seed"] = o.common.seed;
  settings["init"] = o.init;
  settings["residual-gain"] = data.residual_gain(), settings["tokenizer"] = codec.hash();
  Recording recording(runtime, o.common);
  const TrainingRun run{.kind = "world",
                        .settings = settings,
                        .checkpoint = folder + "/world.safetensors",
                        .log = folder + "/world.log.jsonl",
                        .label = "world",
                        .tokens_per_sample = double(data.frames() * tokens),
                        .init = o.init,
                        .resume = o.resume,
                        .quiet = o.common.quiet};
  const TrainingResult trained = run_training(runtime, parameters, trainer, run);
  recording.finish();
  if (!trained.interrupted)
    std::printf("world: %lld steps in %.1f s, loss %.4f; %s\n", static_cast<long long>(trained.steps), trained.seconds,
                trained.final_loss, run.checkpoint.c_str());
  nlohmann::json result = trained.json();
  result["checkpoint"] = run.checkpoint, result["parameters"] = parameters.count();
  if (!o.common.json.empty()) write_file(o.common.json, result.dump(1) + "\n");
  return trained.interrupted ? kInterrupted : kDone;
}

}  // namespace

void add_train_world(Command& train, Body& body) {
  auto options = std::make_shared<TrainWorldOptions>();
  Command command = train.add_subcommand("world", "the world model, from latents of driving logs");
  add_common(command, options->common);
  command.add_option("--preset", options->preset, "sizes and settings, which other options change")
      .show_default()
      .one_of(kPresets);
  command.add_option("--tokenizer", options->tokenizer, "checkpoint of the tokenizer; none: means of 8 x 8 pixels stand in");
  add_options(command, options->s.trainer, trainer_fields());
  add_options(command, options->s.network, world_model_fields());
  add_options(command, options->s.objective, world_objective_fields());
  add_options(command, options->s.data, data_fields());
  command.add_option("--init", options->init, "checkpoint of a world model whose weights to begin from, where shapes agree");
  command.add_flag("--resume", options->resume, "go on from the checkpoint in --out, if there is one");
  command.callback([options, command, &body] {
    const WorldSettings base = preset(options->preset);
    fill_unset(command, options->s.trainer, base.trainer, trainer_fields());
    fill_unset(command, options->s.network, base.network, world_model_fields());
    fill_unset(command, options->s.objective, base.objective, world_objective_fields());
    fill_unset(command, options->s.data, base.data, data_fields());
    body = [options] { return train_world(*options); };
  });
}

}  // namespace dr::cli
