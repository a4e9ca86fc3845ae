#pragma once
// Rollouts of a trained world model from driving logs: anchors and context are taken from a log, frames are generated
// one by one at poses of the caller's choice. Many rollouts go together; each has the bits that it has alone.
//
//   WorldSampler sampler(runtime, world, forecaster, settings, starts);
//   for (each frame) {
//     x = sampler.generate(poses);      the latents of the next frame of every rollout, (B,h,w,c)
//     sampler.push(x, poses);
//   }
//
// Sequence and conditions are those of training (world_data.h): a frame's index counts from the rollout's first frame,
// and so does the anchors'; its place is seen from that frame, its motion from the frame before it.

#include <functional>

#include "model/world_rollout.h"
#include "train/forecast.h"
#include "train/world_checkpoint.h"
#include "train/world_data.h"

namespace dr {

struct SamplerSettings {
  int64_t steps = 15;       // Euler steps of a frame
  double guidance = 1;      // 1: none; Goff et al.'s published code takes 2
  double temperature = 1;   // deviation of the noise that a frame begins as; 0: the flow from its mean
  bool recompute = false;   // the window's keys and values anew before every frame, instead of the cache
  bool plan = false;        // keep the plan of the last frame
  uint64_t seed = 1;
};

// Where a rollout begins: frame k of it is frame first + k step of the log.
struct RolloutStart {
  const LatentLog* source = nullptr;
  int64_t first = 0, step = 1;
  int64_t context = 9;      // frames that are given
  int64_t anchor = 0;       // index of the first anchor
  uint64_t number = 0;      // the noise of its frames is a function of (seed, number, index) alone

  const DrivingLog& log() const { return *source->log; }
  int64_t frame(int64_t index) const { return first + index * step; }
  double time_s(int64_t index) const { return log().frame_times_s[size_t(frame(index))]; }
  Pose pose(int64_t index) const { return log().pose_at(time_s(index)); }
};

class WorldSampler {
 public:
  // Throws where starts differ in their context, or one does not fit into its log or into kWindowFrames.
  WorldSampler(Runtime& runtime, const LoadedWorldModel& world, const Forecaster& forecaster,
               const SamplerSettings& settings, std::vector<RolloutStart> starts);

  int64_t index() const { return int64_t(frames_.size()); }  // of the frame that comes next
  // The next frame of every rollout, taken at a pose of the log's world; and what is known of it before it is generated.
  Tensor generate(const std::vector<Pose>& poses);
  Tensor forecast(const std::vector<Pose>& poses);
  void push(const Tensor& latents, const std::vector<Pose>& poses);
  // Where the likeliest guess of the last frame's plan sees the vehicle 0.2 s on. Needs settings.plan.
  std::vector<Pose> planned();
  int64_t frames_recomputed() const {
    return recomputed_;
  }  // frames of the context that went through the network again

 private:
  struct Frame {
    Tensor latent, forecast;
    FrameConditions conditions;
    std::vector<Pose> poses;  // of every rollout
  };
  int64_t batch() const { return int64_t(starts_.size()); }
  Frame given(const std::function<int64_t(const RolloutStart&)>& index) const;
  void expect_next(const std::vector<Pose>& poses) const;
  FrameConditions at(const std::vector<Pose>& poses) const;
  Tensor forecast(const Frame& before, const std::vector<Pose>& poses) const;
  void append(const Frame& frame);
  void settle();
  Tensor noise() const;

  Runtime& runtime_;
  const LoadedWorldModel& world_;
  const Forecaster& forecaster_;
  SamplerSettings settings_;
  std::vector<RolloutStart> starts_;
  WorldRollout rollout_;
  std::vector<Frame> frames_;        // all so far
  size_t settled_ = 0;               // of them, those whose keys and values are there
  Frame anchor_;                     // the first one
  std::vector<CameraModel> cameras_;
  std::vector<Pose> forecast_at_;    // the poses that forecast_ was made for
  Tensor forecast_;
  Plans plan_;
  int64_t recomputed_ = 0;
};

// Poses for `frames` generated frames of a rollout: the log's, and the same displaced sideways to the right. The offset
// grows over kDeviationFrames frames with the least jerk and stays; the vehicle looks where it moves.
inline constexpr int64_t kDeviationFrames = 25;
double deviation_share(int64_t frames);  // of the offset, that many frames after the last given one: 0 to 1
std::vector<Pose> log_track(const RolloutStart& start, int64_t frames);
std::vector<Pose> deviated_track(const RolloutStart& start, int64_t frames, double right_m);

}  // namespace dr
