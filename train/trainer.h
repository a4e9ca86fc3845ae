#pragma once
// The training loop that every network shares: leaves, clipping, AdamW, an average of the weights, checkpoints, resuming,
// progress. What is learnt is the objective's; the trainer knows parameters and losses.
//
// A step's weights are a function of (settings, seed, step, data) alone: threads and micro-batches change no bit.

#include <functional>
#include <nlohmann/json.hpp>

#include "runtime/parameters.h"
#include "runtime/recorded_work.h"
#include "train/checkpoint.h"
#include "train/fields.h"

namespace dr {

struct TrainerSettings {
  int64_t steps = 1000;
  int64_t batch = 8;             // samples of a step
  int64_t micro_batch = 0;       // samples on a tape at a time, whole leaves; 0: all
  int64_t leaf_samples = 1;      // decides the order of sums over the batch
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.95, weight_decay = 0.01, clip = 1;
  int64_t warmup = 100;          // steps of linear rise
  double cosine_tail = 0.5;      // the share of steps at the end over which lr falls to 0 as half a cosine
  double average = 0.999;        // decay of the weights' average; at step t at most (1 + t) / (10 + t)
  int64_t save_every = 500;      // steps
  int64_t log_every = 10;        // steps
};
const Fields<TrainerSettings>& trainer_fields();

// Learning rate of step 0, 1, ...
float learning_rate(const TrainerSettings& s, int64_t step);

struct StepInfo {
  int64_t step = 0;
  int64_t first_sample = 0, samples = 0;  // of this step's batch: what this tape holds
};

// Losses of each sample, to be averaged over the batch: the gradient is of the sum of weight * value / batch.
struct Loss {
  std::string name;
  Tensor value;       // (samples) f32
  double weight = 1;  // 1 / elements where the value is a sum over elements
};
// The losses of data that lie ready on the host. It applies the same ops whatever the data, and reads nothing back: on a
// device a step is recorded once (runtime/recorded_work.h). rng: (4) u32 for ops that draw random numbers.
using Losses = std::function<std::vector<Loss>(Tape&, const Tensor& rng)>;
// Makes the data of a micro-batch, with ops or without.
using Objective = std::function<Losses(const StepInfo&)>;

struct StepReport {
  double loss = 0;  // sum of the weighted means
  std::vector<std::pair<std::string, double>> losses;
  double lr = 0, grad_norm = 0;
};

class Trainer {
 public:
  // Initialises the parameters from the seed.
  Trainer(Runtime& runtime, Parameters& parameters, const TrainerSettings& settings, uint64_t seed, Objective objective);

  const TrainerSettings& settings() const { return settings_; }
  int64_t step() const { return step_; }  // steps done
  StepReport advance();                   // one step, within a ledger's step where the runtime has a ledger

  void save(const std::string& path, const CheckpointNotes& notes);  // notes.step is set to step()
  void resume(const Checkpoint& file);
  // Begins from another network's averaged weights, where name and shape are the same; returns how many numbers that were.
  int64_t begin_from(const Checkpoint& file);
  void use_average() { copy_average(parameters_); }  // the parameters become their average; no step can follow
  void copy_average(const Parameters& to) const;     // into parameters of the same names and shapes
  // A parameter that the objective does not use, and its average.
  void set(std::string_view name, const std::vector<float>& values);

 private:
  // One step's ops, from the data of each micro-batch to the new weights.
  struct Made {
    std::vector<std::vector<Loss>> losses;  // by micro-batch
    Tensor norm;
  };
  Made compute(const std::vector<Losses>& data, float lr);

  Runtime& runtime_;
  Parameters& parameters_;
  TrainerSettings settings_;
  uint64_t seed_;
  Objective objective_;
  std::vector<Tensor> m_, v_, average_;
  std::vector<int64_t> block_;  // where each parameter's sums of squares begin
  Tensor sums_;
  int64_t step_ = 0;
  RecordedWork work_;
};

// How a command trains: what it writes and says.
struct TrainingRun {
  std::string kind;               // of the checkpoint
  nlohmann::json settings;        // its copy of the settings, and the log's header
  std::string checkpoint;         // path, written every save_every steps, at the end and when interrupted
  std::string log;                // path of the JSON lines
  std::string label;              // of progress lines: "tokenizer"
  double tokens_per_sample = 0;   // for tokens_per_s; 0: left out
  std::string init = {};          // checkpoint of another run whose averaged weights to begin from; empty: none
  bool resume = false, quiet = false;
  std::function<void()> finish = {};  // after the last step, before its checkpoint is written
};
struct TrainingResult {
  bool interrupted = false;
  int64_t steps = 0;
  double final_loss = 0, seconds = 0;  // loss: mean over the last tenth of the steps
  std::string weights_hash;            // of the weights that the steps made, not of their average
  nlohmann::json json() const;
};
// Trains to the end, or until SIGINT or SIGTERM, after which the step is finished and the checkpoint written. With
// `resume` and a checkpoint at hand it goes on from there and cuts the log to its step; a checkpoint of other settings is
// refused, but for the steps between saves or lines of the log, and what is computed again.
TrainingResult run_training(Runtime& runtime, Parameters& parameters, Trainer& trainer, const TrainingRun& run);

}  // namespace dr
