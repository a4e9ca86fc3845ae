// train tokenizer: the image tokenizer, from the frames of driving logs.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>

#include "io/file.h"
#include "kernels/bottleneck/bottleneck.h"
#include "kernels/core/philox.h"
#include "kernels/float_to_image/float_to_image.h"
#include "kernels/flow_loss/flow_loss.h"
#include "kernels/image_to_float/image_to_float.h"
#include "kernels/ssim/ssim.h"
#include "sim/reprojection/reprojection.h"
#include "train/commands/train.h"
#include "train/dataset.h"
#include "train/latents.h"

namespace dr::cli {

namespace {

constexpr uint32_t kFramesDrawn = 0xf7a3e500;  // op ids of random numbers that no op call draws
constexpr int64_t kCalibrationFrames = 512;

struct TokenizerSettings {
  double noise = 0.1, ssim = 0.05;
  int64_t holdout = 4;
};
const Fields<TokenizerSettings>& settings_fields() {
  using S = TokenizerSettings;
  static const Fields<S> list = {
      {"noise", &S::noise, "deviation of the noise on the latents while training, relative to theirs", 0, 10},
      {"ssim", &S::ssim, "weight of 1 - SSIM beside the squared error: it keeps faint lines on an even road", 0, 100},
      {"holdout", &S::holdout, "last logs, or of a single log the last frames, that are measured and not trained on", 0, 1e9},
  };
  return list;
}

struct TrainTokenizerOptions {
  Common common;
  TrainerSettings trainer{.steps = 5500, .batch = 4, .leaf_samples = 2, .lr = 3e-3, .beta2 = 0.99, .weight_decay = 0,
                          .warmup = 50, .cosine_tail = 0.8, .average = 0.998, .save_every = 1000, .log_every = 20};
  TokenizerConfig network;
  DataSettings data;
  TokenizerSettings own;
  std::string init;
  bool resume = false;

  nlohmann::json settings() const {
    nlohmann::json j = to_json(trainer, trainer_fields());
    j.update(to_json(network, tokenizer_fields()));
    j.update(to_json(data, data_fields()));
    j.update(to_json(own, settings_fields()));
    j["seed"] = common.seed, j["init"] = init;
    return j;
  }
};

// The frames of logs, numbered from 0 through all of them.
class FrameSet {
 public:
  explicit FrameSet(const Logs& logs) : logs_(logs) {
    for (const auto& log : logs) ends_.push_back(count() + log->frame_count());
  }
  int64_t count() const { return ends_.empty() ? 0 : ends_.back(); }

  // (n,H,W,3) f32 in [-1, 1]
  Tensor images(Runtime& runtime, const std::vector<int64_t>& frames) const {
    const View& like = logs_[0]->frames.view;
    const int64_t size = like.size(1) * like.size(2) * 3;
    std::vector<uint8_t> bytes(frames.size() * size_t(size));
    for (size_t i = 0; i < frames.size(); i++) {
      const auto k = size_t(std::upper_bound(ends_.begin(), ends_.end(), frames[i]) - ends_.begin());
      const int64_t frame = frames[i] - (k > 0 ? ends_[k - 1] : 0);
      std::copy_n(logs_[k]->frames.data<uint8_t>() + frame * size, size, bytes.data() + i * size_t(size));
    }
    return evaluate(runtime, ImageToFloat{}, runtime.from(bytes, {int64_t(frames.size()), like.size(1), like.size(2), 3}));
  }

 private:
  const Logs& logs_;
  std::vector<int64_t> ends_;
};

// Gives the latents of up to kCalibrationFrames frames, evenly apart, mean 0 and variance 1.
void calibrate(Runtime& runtime, Trainer& trainer, const TokenizerConfig& network, const FrameSet& frames) {
  Parameters average(runtime);
  const Tokenizer tokenizer(runtime, average, network);
  trainer.copy_average(average);
  std::vector<float> latents;
  const int64_t n = std::min(kCalibrationFrames, frames.count());
  for (int64_t i = 0; i < n; i++) {
    Tape tape(runtime, {.gradients = false});
    const std::vector<float> some = tokenizer.encode_raw(tape, frames.images(runtime, {i * frames.count() / n})).floats();
    latents.insert(latents.end(), some.begin(), some.end());
  }
  const LatentStatistics s = latent_statistics(latents);
  trainer.set("latent.mean", s.mean);
  trainer.set("latent.deviation", s.deviation);
}

// Means over frames of what is left of them behind latents, with noise on these or without.
struct Quality {
  double psnr_db = 0, ssim = 0;
};
Quality measure(Runtime& runtime, const Tokenizer& tokenizer, const FrameSet& frames, double noise) {
  constexpr int64_t kAtATime = 16;
  Quality sum;
  const Tensor sigma = runtime.from(std::vector<float>{float(noise)}, {1});
  for (int64_t first = 0; first < frames.count(); first += kAtATime) {
    std::vector<int64_t> list;
    for (int64_t i = first; i < std::min(first + kAtATime, frames.count()); i++) list.push_back(i);
    Tape tape(runtime, {.gradients = false});
    const Tensor images = frames.images(runtime, list);
    const Tensor rng = runtime.from(std::vector<uint32_t>{1, 0, uint32_t(first), 0}, {4});
    const Tensor latents = tape.apply(GaussianBottleneck{}, tokenizer.encode(tape, images), rng, sigma, Tensor(), Tensor());
    const Tensor decoded = tape.apply(ImageToFloat{}, tape.apply(FloatToImage{}, tokenizer.decode(tape, latents)));
    const std::vector<float> squares = tape.apply(FlowLoss{}, decoded, images, Tensor()).floats(),
                             ssim = tape.apply(Ssim{}, decoded, images).floats();
    const double values = double(images.count() / images.size(0));
    for (size_t i = 0; i < squares.size(); i++) {
      const double levels = 127.5 * 127.5 * double(squares[i]);
      sum.psnr_db += sim::psnr_db(std::max(1., levels) / values);  // a frame without any error counts as one of one level
      sum.ssim += double(ssim[i]);
    }
  }
  const double n = double(frames.count());
  return {sum.psnr_db / n, sum.ssim / n};
}

int train_tokenizer(const TrainTokenizerOptions& o) {
  const std::string folder = training_folder(o.common);
  CHECK(o.data.width % Tokenizer::kReduction == 0 && o.data.height % Tokenizer::kReduction == 0,
        "frames of {} x {}: --width and --height must be multiples of {}", o.data.width, o.data.height, Tokenizer::kReduction);
  Runtime runtime(o.common.runtime());
  create_folder(folder);
  const auto start = std::chrono::steady_clock::now();
  const Split data = split(open_dataset(runtime, o.data, o.common.seed), o.own.holdout);
  const FrameSet frames(data.train), held_out(data.held_out);
  const double data_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  Parameters parameters(runtime);
  const Tokenizer tokenizer(runtime, parameters, o.network);
  const auto objective = [&](const StepInfo& info) -> Losses {
    const RandomStream random{o.common.seed, uint32_t(info.step), kFramesDrawn};
    std::vector<int64_t> drawn;
    for (int64_t i = 0; i < info.samples; i++)
      drawn.push_back(int64_t(uint64_t{random_bits(random, uint64_t(info.first_sample + i))} * uint64_t(frames.count()) >> 32));
    return [&, drawn](Tape& tape, const Tensor& rng) {
      const Tensor images = frames.images(runtime, drawn), sigma = runtime.from(std::vector<float>{float(o.own.noise)}, {1});
      const Tensor latents =
          tape.apply(GaussianBottleneck{}, tokenizer.encode_raw(tape, images), rng, sigma, Tensor(), Tensor());
      const Tensor decoded = tokenizer.decode_raw(tape, latents), error = tape.apply(FlowLoss{}, decoded, images, Tensor());
      std::vector<Loss> losses{{"squared_error", error, double(images.size(0)) / double(images.count())}};
      if (o.own.ssim > 0) losses.push_back({"ssim", tape.apply(Ssim{}, decoded, images), -o.own.ssim});
      return losses;
    };
  };
  Trainer trainer(runtime, parameters, o.trainer, o.common.seed, objective);
  if (!o.common.quiet)
    std::printf("tokenizer: %lld parameters, %lld frames of %lld x %lld to train on, %lld held out (%.1f s)\n",
                static_cast<long long>(parameters.count()), static_cast<long long>(frames.count()),
                static_cast<long long>(o.data.width), static_cast<long long>(o.data.height),
                static_cast<long long>(held_out.count()), data_s);

  Recording recording(runtime, o.common);
  const TrainingRun run{.kind = "tokenizer",
                        .settings = o.settings(),
                        .checkpoint = folder + "/tokenizer.safetensors",
                        .log = folder + "/tokenizer.log.jsonl",
                        .label = "tokenizer",
                        .init = o.init,
                        .resume = o.resume,
                        .quiet = o.common.quiet,
                        .finish = [&] { calibrate(runtime, trainer, o.network, frames); }};
  const TrainingResult trained = run_training(runtime, parameters, trainer, run);
  recording.finish();

  nlohmann::json result = trained.json();
  result["checkpoint"] = run.checkpoint;
  if (!trained.interrupted) {
    const LoadedTokenizer loaded = load_tokenizer(runtime, run.checkpoint);
    result["tokenizer_hash"] = loaded.hash;
    std::string quality;
    if (held_out.count() > 0) {
      const Quality clean = measure(runtime, *loaded.tokenizer, held_out, 0),
                    noisy = measure(runtime, *loaded.tokenizer, held_out, 0.1);
      result.update({{"psnr_db", clean.psnr_db},
                     {"ssim", clean.ssim},
                     {"noisy_psnr_db", noisy.psnr_db},
                     {"held_out_frames", held_out.count()}});
      quality = format("; held out {} frames: {:.2f} dB, SSIM {:.3f}, with noise of 0.1 on the latents {:.2f} dB",
                       held_out.count(), clean.psnr_db, clean.ssim, noisy.psnr_db);
    }
    std::printf("tokenizer: %lld steps in %.1f s%s; %s\n", static_cast<long long>(trained.steps), trained.seconds, quality.c_str(),
                run.checkpoint.c_str());
  }
  if (!o.common.json.empty()) write_file(o.common.json, result.dump(1) + "\n");
  return trained.interrupted ? kInterrupted : kDone;
}

}  // namespace

void add_train_tokenizer(Command& train, Body& body) {
  auto options = std::make_shared<TrainTokenizerOptions>();
  Command command = train.add_subcommand("tokenizer", "the image tokenizer, from the frames of driving logs");
  add_common(command, options->common);
  add_options(command, options->trainer, trainer_fields());
  add_options(command, options->network, tokenizer_fields());
  add_options(command, options->data, data_fields());
  add_options(command, options->own, settings_fields());
  command.add_option("--init", options->init, "checkpoint of a tokenizer whose weights to begin from, where shapes agree");
  command.add_flag("--resume", options->resume, "go on from the checkpoint in --out, if there is one");
  command.callback([options, &body] { body = [options] { return train_tokenizer(*options); }; });
}

}  // namespace dr::cli
