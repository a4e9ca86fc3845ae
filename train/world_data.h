#pragma once
// What a world model learns from: sequences of latents with their poses, some of them noised, as the objective wants them.
// Sample g of a run is a pure function of (logs, settings, seed, g).

#include <optional>

#include "io/loader.h"
#include "model/world_model.h"
#include "train/dataset.h"
#include "train/fields.h"
#include "train/forecast.h"
#include "train/trainer.h"

namespace dr {

struct WorldObjectiveSettings {
  int64_t sequence = 12;            // frames; all but the first are targets
  int64_t window_frames = 50;       // of the log that sequence and anchors lie in
  double noise_probability = 0.3;   // of a sequence whose clean frames are noised while the model is told tau = 0
  double noise_mean = 0, noise_deviation = 0.25;  // of the logit of their tau
  double pose_dropout = 0.1;        // of a target
  double plan_weight = 0.1;
  bool many_targets = true;         // a loss at every frame but the first; else at the last alone
  int64_t recompute = 0;            // blocks whose MLP's hidden layer is computed again in backward
};
const Fields<WorldObjectiveSettings>& world_objective_fields();

// The motion of a frame and its place, from the log's poses: `time_s` of the frame, of the sequence's first one.
FramePose frame_pose(const DrivingLog& log, double time_s, double first_s);
// The same from poses: the frame seen from the one before it, and from the sequence's first one.
FramePose frame_pose(const Pose& motion, const Pose& place);

// On the host.
struct WorldBatch {
  struct Numbers {
    std::vector<float> values;
    Sizes sizes;
  };
  Numbers clean;              // (B,A+N,h,w,2c), N = clean_frames()
  Numbers forecast;           // (B,M,h,w,c): of each target, as the model sees it
  Numbers x0;                 // (B,M,h,w,c)
  Numbers tau;                // (B M)
  FrameConditions conditions; // (B,A+N+M)
  Numbers plan, plan_weight;  // (B N,kPlanSize)
};

class WorldData {
 public:
  WorldData(Runtime& runtime, std::vector<LatentLog> logs, const Forecaster& forecaster, const WorldModelConfig& config,
            const WorldObjectiveSettings& settings, uint64_t seed);

  // (h,w,c): of the residual, so that it has unit variance at every place, over the logs; ones without residual.
  const std::vector<float>& residual_gain() const { return gain_; }
  int64_t targets() const { return settings_.many_targets ? settings_.sequence - 1 : 1; }
  // Frames that stay clean, and those of a sequence with its anchors and noised frames: a single target has no clean copy.
  int64_t clean_frames() const { return settings_.sequence - (settings_.many_targets ? 0 : 1); }
  int64_t frames() const { return config_.anchors + clean_frames() + targets(); }
  uint64_t windows() const { return loader_->windows(); }
  WorldBatch batch(uint64_t first_sample, int64_t samples) const;
  // The losses of a step: velocity and plan.
  Objective objective(const WorldModel& model, int64_t batch) const;

 private:
  // What forecasts take of a log's frames over and over, by frame; made when it is first asked for.
  struct Known {
    std::vector<std::vector<uint8_t>> pictures;  // (H,W,3), its latents decoded
    std::vector<std::vector<float>> by_last;     // (h,w,c), forecast from the frame before alone
  };
  int64_t frame_of(const Window& w, int64_t f) const;
  Tensor latents_of(size_t log, std::span<const int64_t> frames) const;
  Tensor pictures_of(size_t log, std::span<const int64_t> frames) const;
  std::vector<float> forecast(size_t log, int64_t step, std::span<const int64_t> frames,
                              std::optional<int64_t> anchor) const;
  std::vector<float> forecasts(const Window& w) const;
  std::vector<float> measured_gain() const;

  Runtime& runtime_;
  std::vector<LatentLog> logs_;
  mutable std::vector<Known> known_;  // by log
  Forecaster forecaster_;
  WorldModelConfig config_;
  WorldObjectiveSettings settings_;
  std::vector<float> gain_;
  uint64_t seed_;
  std::unique_ptr<Loader> loader_;
};

}  // namespace dr
