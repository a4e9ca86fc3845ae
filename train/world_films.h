#pragma once
// Films of rollouts, and what they are compared with: the true frames, the last true frame held, and what the tokenizer
// leaves of the true frames.

#include "io/image.h"
#include "train/image_score.h"
#include "train/latent_codec.h"
#include "train/world_sampler.h"

namespace dr {

// How a command's rollouts are made: options that `sample` and `eval world` share.
struct RolloutSettings {
  int64_t context_frames = 9, anchor_gap = 10, steps = 15;
  double guidance = 1, temperature = 1;
  std::string context = "cache";

  // Throws where `context` is neither cache nor recompute.
  SamplerSettings sampler(uint64_t seed) const;
  // The index of the first anchor behind `frames` generated frames: as far as asked for, or as fits.
  int64_t first_anchor(const WorldModelConfig& config, int64_t frames) const {
    return std::min(context_frames + frames - 1 + anchor_gap, kWindowFrames - config.anchors);
  }
};

// S is derived from RolloutSettings.
template <class S>
Fields<S> rollout_fields() {
  return {
      {"context-frames", &S::context_frames, "true frames before the first generated one", 1, kWindowFrames - 1},
      {"anchor-gap", &S::anchor_gap,
       "frames at 5 Hz from the last generated one to the first anchor, or as many as fit into the ten seconds of a rollout",
       1, kWindowFrames - 1},
      {"steps", &S::steps, "Euler steps of a frame", 1, 1000},
      {"guidance", &S::guidance, "of the poses; 1: none", 0, 100},
      {"temperature", &S::temperature, "deviation of a frame's noise", 0, 10},
      {"context", &S::context, "cache, or recompute: the window anew before every frame"},
  };
}

class FilmMaker {
 public:
  // Throws where the codec's latents are not those that the world model was trained on.
  FilmMaker(Runtime& runtime, const LoadedWorldModel& world, const LatentCodec& codec);

  // The generated frames of every rollout: tracks[i] has their poses. `batch` rollouts go together.
  Films generated(const std::vector<RolloutStart>& starts, const std::vector<std::vector<Pose>>& tracks,
                  const SamplerSettings& settings, int64_t batch) const;
  Films recorded(const std::vector<RolloutStart>& starts, int64_t frames) const;
  Films held(const std::vector<RolloutStart>& starts, int64_t frames) const;  // the last given frame again and again
  // The forecasts alone, from the last given frame on: what a network that generates nothing would show.
  Films forecast(const std::vector<RolloutStart>& starts, const std::vector<std::vector<Pose>>& tracks,
                 int64_t batch) const;
  Films reconstructed(const std::vector<RolloutStart>& starts, int64_t frames) const;

  // (N,h,w,c) -> the bytes of N frames
  Film decode(const Tensor& latents) const;
  const Forecaster& forecaster() const { return forecaster_; }
  int64_t height() const { return world_.notes.height; }
  int64_t width() const { return world_.notes.width; }

 private:
  using NextFrame = std::function<Tensor(WorldSampler&, const std::vector<Pose>&)>;
  Films rolled(const std::vector<RolloutStart>& starts, const std::vector<std::vector<Pose>>& tracks,
               const SamplerSettings& settings, int64_t batch, const NextFrame& next) const;
  Films empty(int64_t frames, size_t films) const;

  Runtime& runtime_;
  const LoadedWorldModel& world_;
  const LatentCodec& codec_;
  Forecaster forecaster_;
};

// Logs with their latents at the size of a world model's frames.
std::vector<LatentLog> open_latent_logs(Runtime& runtime, const LoadedWorldModel& world, const LatentCodec& codec,
                                        DataSettings data, uint64_t seed);

// Frame i of a film.
Image film_frame(const Films& films, size_t film, int64_t i);

}  // namespace dr
