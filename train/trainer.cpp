#include "train/trainer.h"

#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <numbers>

#include "io/file.h"
#include "io/json_lines.h"
#include "kernels/adamw/adamw.h"
#include "kernels/clip_scale/clip_scale.h"
#include "kernels/core/host_math.h"
#include "kernels/ema/ema.h"
#include "kernels/grad_norm/grad_norm.h"
#include "kernels/harness/bench.h"

namespace dr {

namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); }

// While one lives, SIGINT and SIGTERM ask for a stop; a second one ends the program at once.
class StopSignals {
 public:
  StopSignals() {
    asked_ = 0;
    for (size_t i = 0; i < std::size(kSignals); i++) before_[i] = std::signal(kSignals[i], ask);
  }
  ~StopSignals() {
    for (size_t i = 0; i < std::size(kSignals); i++) std::signal(kSignals[i], before_[i]);
  }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  static bool asked() { return asked_ != 0; }

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM};
  static void ask(int signal) {
    asked_ = 1;
    std::signal(signal, SIG_DFL);
  }
  inline static volatile std::sig_atomic_t asked_ = 0;
  void (*before_[std::size(kSignals)])(int);
};

std::string clock_text(double seconds) {
  const auto s = int64_t(seconds + 0.5);
  return s < 3600 ? format("{}:{:02}", s / 60, s % 60) : format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

std::string count_text(double n) {
  return n < 1e4 ? format("{:.0f}", n) : n < 1e7 ? format("{:.1f}k", n / 1e3) : format("{:.1f}M", n / 1e6);
}

}  // namespace

const Fields<TrainerSettings>& trainer_fields() {
  using S = TrainerSettings;
  static const Fields<S> list = {
      {"steps", &S::steps, "optimiser steps", 0, 1e9},
      {"batch", &S::batch, "samples of a step", 1, 1 << 20},
      {"micro-batch", &S::micro_batch, "samples held in memory at a time, whole leaves; 0: the batch", 0, 1 << 20},
      {"leaf-samples", &S::leaf_samples, "samples of a leaf, which fixes the order of sums over the batch", 1, 1 << 20},
      {"lr", &S::lr, "highest learning rate", 0, 1},
      {"beta1", &S::beta1, "AdamW", 0, 0.9999},
      {"beta2", &S::beta2, "AdamW", 0, 0.99999},
      {"weight-decay", &S::weight_decay, "AdamW, of matrices and filters", 0, 10},
      {"clip", &S::clip, "largest norm of the gradient", 1e-9, 1e9},
      {"warmup", &S::warmup, "steps in which the learning rate rises", 0, 1e9},
      {"cosine-tail", &S::cosine_tail, "share of the steps in which it falls to 0", 0, 1},
      {"average", &S::average, "decay of the average of the weights", 0, 0.999999},
      {"save-every", &S::save_every, "steps between checkpoints", 1, 1e9},
      {"log-every", &S::log_every, "steps between lines of the log", 1, 1e9},
  };
  return list;
}

float learning_rate(const TrainerSettings& s, int64_t step) {
  double lr = s.lr;
  if (step < s.warmup) lr *= double(step + 1) / double(s.warmup);
  const double tail = s.cosine_tail * double(s.steps), into = double(step) - (double(s.steps) - tail);
  if (into > 0) lr *= 0.5 * (1 + double(canonical::cos(std::numbers::pi_v<float> * float(std::min(1.0, into / tail)))));
  return float(lr);
}

Trainer::Trainer(Runtime& runtime, Parameters& parameters, const TrainerSettings& settings, uint64_t seed,
                 Objective objective)
    : runtime_(runtime), parameters_(parameters), settings_(settings), seed_(seed), objective_(std::move(objective)),
      work_(runtime) {
  TrainerSettings& s = settings_;
  CHECK(s.batch % s.leaf_samples == 0, "batch is {} and leaf-samples {}: a batch is whole leaves", s.batch, s.leaf_samples);
  if (s.micro_batch == 0) s.micro_batch = s.batch;
  CHECK(s.micro_batch % s.leaf_samples == 0 && s.batch % s.micro_batch == 0,
        "micro-batch is {}: accepted are multiples of leaf-samples, {}, that divide batch, {}", s.micro_batch, s.leaf_samples,
        s.batch);
  parameters_.initialise(seed);
  int64_t blocks = 0;
  for (const Parameter& p : parameters_) {
    m_.push_back(runtime_.zeros(DType::f32, p.value.sizes()));
    v_.push_back(runtime_.zeros(DType::f32, p.value.sizes()));
    if (s.average > 0) average_.push_back(p.value.clone());
    block_.push_back(blocks);
    blocks += (p.value.count() + GradNorm::kBlock - 1) / GradNorm::kBlock;
  }
  sums_ = runtime_.zeros(DType::f32, {blocks});
}

StepReport Trainer::advance() {
  const TrainerSettings& s = settings_;
  if (runtime_.ledger) runtime_.ledger->begin_step(step_);
  StepReport report;
  const float lr = learning_rate(s, step_);
  std::vector<Losses> data;
  for (int64_t first = 0; first < s.batch; first += s.micro_batch) data.push_back(objective_({step_, first, s.micro_batch}));
  Made made;
  work_.run([&] { made = compute(data, lr); });

  report.lr = lr;
  for (const std::vector<Loss>& losses : made.losses) {
    report.losses.resize(losses.size());
    for (size_t i = 0; i < losses.size(); i++) {
      report.losses[i].first = losses[i].name;
      for (float v : losses[i].value.floats()) report.losses[i].second += double(v) * losses[i].weight / double(s.batch);
    }
  }
  for (const auto& [name, value] : report.losses) report.loss += value;
  report.grad_norm = double(made.norm.floats()[0]);
  step_++;
  if (runtime_.ledger) runtime_.ledger->end_step();
  return report;
}

Trainer::Made Trainer::compute(const std::vector<Losses>& data, float learning_rate) {
  const TrainerSettings& s = settings_;
  Made made;
  const Tensor rng = runtime_.from(
      std::vector<uint32_t>{uint32_t(seed_), uint32_t(seed_ >> 32), uint32_t(step_), 0}, {4});
  GradientAccumulator sum(runtime_, s.batch / s.leaf_samples);
  for (size_t k = 0; k < data.size(); k++) {
    Tape tape(runtime_, {.leaves = int(s.micro_batch / s.leaf_samples), .first_sample = uint64_t(k) * uint64_t(s.micro_batch)});
    parameters_.watch(tape);
    made.losses.push_back(data[k](tape, rng));
    for (const Loss& l : made.losses.back())
      tape.seed(l.value, runtime_.from(std::vector<float>(size_t(l.value.count()), float(l.weight)), l.value.sizes()));
    tape.backward();
    sum.add(parameters_.gradients(tape));
  }

  const std::vector<Tensor> gradients = sum.finish();
  const Context ctx = runtime_.context();
  const auto scalar = [&](double v) { return runtime_.from(std::vector<float>{float(v)}, {1}); };
  const std::shared_ptr<const AnyOp> norm_op = erase(GradNorm{});
  for (size_t i = 0; i < gradients.size(); i++) {
    if (!gradients[i]) continue;  // a parameter that this objective does not use
    const View in[] = {gradients[i]};
    const View out[] = {sums_.slice(0, block_[i], (gradients[i].count() + GradNorm::kBlock - 1) / GradNorm::kBlock)};
    runtime_.forward(*norm_op, ctx, in, out);
  }
  made.norm = runtime_.empty(DType::f32, {1});
  const Tensor factor = scalar(1.0 / double(s.batch)), scale = runtime_.empty(DType::f32, {1}), lr = scalar(learning_rate);
  {
    const Tensor max_norm = scalar(s.clip);
    const View in[] = {sums_, max_norm, factor}, out[] = {made.norm, scale};
    runtime_.forward(*erase(ClipScale{}), ctx, in, out);
  }
  const AdamW adamw{.beta1 = float(s.beta1), .beta2 = float(s.beta2), .eps = 1e-8f, .weight_decay = 0};
  AdamW decayed = adamw;
  decayed.weight_decay = float(s.weight_decay);
  const auto c = adamw.correction(step_ + 1);
  const Tensor correction = runtime_.from(std::vector<float>{c[0], c[1]}, {2});
  const Tensor decay = scalar(std::min(s.average, double(1 + step_) / double(10 + step_)));
  for (size_t i = 0; i < gradients.size(); i++) {
    const View value = parameters_[i].value;
    if (gradients[i]) {
      const View in[] = {value, gradients[i], m_[i], v_[i], lr, correction, scale}, out[] = {value, m_[i], v_[i]};
      runtime_.forward(*erase(value.rank() >= 2 ? decayed : adamw), ctx, in, out);
    }
    if (!average_.empty()) {
      const View in[] = {average_[i], value, decay}, out[] = {average_[i]};
      runtime_.forward(*erase(Ema{}), ctx, in, out);
    }
  }
  return made;
}

void Trainer::save(const std::string& path, const CheckpointNotes& notes) {
  std::vector<NamedTensor> list;
  for (size_t i = 0; i < parameters_.size(); i++) {
    const Parameter& p = parameters_[i];
    list.push_back({"weights." + p.name, p.value});
    if (!average_.empty()) list.push_back({"average." + p.name, average_[i]});
    list.push_back({"adam.m." + p.name, m_[i]});
    list.push_back({"adam.v." + p.name, v_[i]});
  }
  CheckpointNotes now = notes;
  now.step = step_;
  write_checkpoint(runtime_, path, now, list);
}

void Trainer::resume(const Checkpoint& file) {
  file.load(runtime_, parameters_, false);
  for (size_t i = 0; i < parameters_.size(); i++) {
    const std::string& name = parameters_[i].name;
    if (!average_.empty()) file.load(runtime_, "average." + name, average_[i]);
    file.load(runtime_, "adam.m." + name, m_[i]);
    file.load(runtime_, "adam.v." + name, v_[i]);
  }
  step_ = file.notes().step;
}

int64_t Trainer::begin_from(const Checkpoint& file) {
  CHECK(step_ == 0, "trainer: {} steps are done; other weights can only be taken before the first", step_);
  int64_t taken = 0;
  for (size_t i = 0; i < parameters_.size(); i++) {
    const Parameter& p = parameters_[i];
    if (!file.load_average(runtime_, p.name, p.value)) continue;
    if (!average_.empty()) runtime_.device().copy(average_[i].view().data, p.value.view().data, p.value.view().bytes());
    taken += p.value.count();
  }
  CHECK(taken > 0, "{}: none of its weights has the name and shape of one of this network's", file.path());
  return taken;
}

void Trainer::copy_average(const Parameters& to) const {
  for (size_t i = 0; i < parameters_.size(); i++) {
    const Tensor& from = average_.empty() ? parameters_[i].value : average_[i];
    runtime_.device().copy(to.at(parameters_[i].name).value.view().data, from.view().data, from.view().bytes());
  }
}

void Trainer::set(std::string_view name, const std::vector<float>& values) {
  for (size_t i = 0; i < parameters_.size(); i++) {
    if (parameters_[i].name != name) continue;
    parameters_[i].value.copy_from(std::span(values));
    if (!average_.empty()) average_[i].copy_from(std::span(values));
    return;
  }
  fail("trainer: there is no parameter '{}'", name);
}

nlohmann::json TrainingResult::json() const {
  return {{"steps", steps}, {"final_loss", final_loss}, {"weights_hash", weights_hash}, {"seconds", seconds}};
}

namespace {

// The log up to a step, so that a resumed run's lines follow on.
std::vector<nlohmann::json> lines_before(const std::string& path, int64_t step) {
  std::vector<nlohmann::json> kept;
  if (!std::filesystem::exists(path)) return kept;
  { JsonLinesWriter whole(path, true); }  // drops a last line that was cut short
  for (nlohmann::json& line : read_json_lines(path))
    if (!line.contains("step") || line["step"].get<int64_t>() <= step) kept.push_back(std::move(line));
  return kept;
}

}  // namespace

TrainingResult run_training(Runtime& runtime, Parameters& parameters, Trainer& trainer, const TrainingRun& run) {
  const TrainerSettings& s = trainer.settings();
  const CheckpointNotes notes{run.kind, run.settings, 0};
  std::vector<nlohmann::json> kept;
  if (run.resume && std::filesystem::exists(run.checkpoint)) {
    const Checkpoint file(run.checkpoint, run.kind);
    for (const auto& [key, value] : run.settings.items()) {
      if (key == "save-every" || key == "log-every" || key == "recompute") continue;  // they change no weight
      const nlohmann::json& before = file.notes().settings;
      CHECK(before.contains(key) && before[key] == value, "{}: it was trained with {} = {}, this run has {}; --resume goes on "
            "with the same settings", run.checkpoint, key, before.contains(key) ? before[key].dump() : "nothing", value.dump());
    }
    trainer.resume(file);
    kept = lines_before(run.log, trainer.step());
    if (!run.quiet)
      std::printf("%s: goes on from step %lld of %s\n", run.label.c_str(), static_cast<long long>(trainer.step()),
                  run.checkpoint.c_str());
  }
  if (trainer.step() == 0 && !run.init.empty()) {
    const int64_t taken = trainer.begin_from(Checkpoint(run.init, run.kind));
    if (!run.quiet)
      std::printf("%s: begins from %s: %s of %s weights\n", run.label.c_str(), run.init.c_str(),
                  count_text(double(taken)).c_str(), count_text(double(parameters.count())).c_str());
  }
  JsonLinesWriter log(run.log);
  if (kept.empty()) kept.push_back({{"kind", run.kind}, {"settings", run.settings}});
  double seconds_before = 0;
  std::vector<std::pair<int64_t, double>> logged;
  auto remember = [&](const nlohmann::json& line) {
    if (line.contains("loss") && line["loss"].is_number()) logged.emplace_back(line["step"], line["loss"]);
    if (line.contains("seconds")) seconds_before = line["seconds"];
  };
  for (const nlohmann::json& line : kept) remember(line), log.write(line);
  const double seconds_at_start = seconds_before;

  TrainingResult result;
  StopSignals signals;
  const int64_t first_step = trainer.step();
  const auto start = Clock::now();
  auto said = start;
  double step_flops = 0, peak_flops = 0;
  while (trainer.step() < s.steps && !StopSignals::asked()) {
    const bool count = step_flops == 0 && !runtime.profiler;
    if (count) runtime.profiler.emplace();
    const auto begin = Clock::now();
    const StepReport r = trainer.advance();
    const double step_s = since(begin);
    if (count) {
      for (const Profiler::Row& row : runtime.profiler->rows()) step_flops += row.flops;
      runtime.profiler.reset();
      peak_flops = harness::measure_peaks(runtime.context().backend, *runtime.context().pool).tflops * 1e12;
    }
    const int64_t done = trainer.step();
    const bool last = done == s.steps;
    const double elapsed = since(start), rate = double(done - first_step) / elapsed;
    if (done % s.log_every == 0 || last || StopSignals::asked()) {
      nlohmann::json losses = nlohmann::json::object();
      for (const auto& [name, value] : r.losses) losses[name] = value;
      nlohmann::json line = {{"step", done}, {"loss", r.loss}, {"losses", losses}, {"lr", r.lr}, {"grad_norm", r.grad_norm},
                             {"samples_per_s", double(s.batch) / step_s},
                             {"seconds", seconds_at_start + elapsed}};
      if (run.tokens_per_sample > 0) line["tokens_per_s"] = double(s.batch) * run.tokens_per_sample / step_s;
      if (peak_flops > 0) line["utilisation"] = step_flops / step_s / peak_flops;
      remember(line);
      log.write(line);
    }
    if (!run.quiet && (since(said) > 5 || last || done == first_step + 1)) {
      said = Clock::now();
      std::string parts;
      for (const auto& [name, value] : r.losses) parts += format("  {} {:.4f}", name, value);
      std::printf("%s  step %lld/%lld  loss %.4f%s  lr %.1e  grad %.2f  %s samples/s", run.label.c_str(),
                  static_cast<long long>(done), static_cast<long long>(s.steps), r.loss,
                  r.losses.size() > 1 ? parts.c_str() : "", r.lr, r.grad_norm, count_text(rate * double(s.batch)).c_str());
      if (run.tokens_per_sample > 0)
        std::printf("  %s tokens/s", count_text(rate * double(s.batch) * run.tokens_per_sample).c_str());
      std::printf("  %s left\n", clock_text(double(s.steps - done) / rate).c_str());
      std::fflush(stdout);
    }
    if (done % s.save_every == 0 && !last) trainer.save(run.checkpoint, notes);
  }
  result.interrupted = trainer.step() < s.steps;
  if (!result.interrupted && run.finish) run.finish();
  trainer.save(run.checkpoint, notes);
  if (result.interrupted && !run.quiet)
    std::printf("%s: interrupted; step %lld is in %s, --resume goes on from there\n", run.label.c_str(),
                static_cast<long long>(trainer.step()), run.checkpoint.c_str());
  result.steps = trainer.step();
  result.seconds = seconds_at_start + since(start);
  result.weights_hash = parameters.hash();
  int64_t n = 0;
  for (const auto& [step, loss] : logged)
    if (step > result.steps - std::max(s.log_every, result.steps / 10)) result.final_loss += loss, n++;
  if (n > 0) result.final_loss /= double(n);
  return result;
}

}  // namespace dr
