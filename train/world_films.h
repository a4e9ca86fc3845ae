#pragma once
// Films of rollouts, and what they are compared with: the true frames, the last true frame held, and what the tokenizer
// leaves of the true frames.

#include "io/image.h"
#include "train/image_score.h"
#include "train/latent_codec.h"
#include "train/world_sampler.h"

namespace dr {

class FilmMaker {
 public:
  // Throws where the codec's latents are not those that the world model was trained on.
  FilmMaker(Runtime& runtime, const LoadedWorldModel& world, const LatentCodec& codec);

  // The generated frames of every rollout: tracks[i] has their poses. `batch` rollouts go together.
  Films generated(const std::vector<RolloutStart>& starts, const std::vector<std::vector<Pose>>& tracks,
                  const SamplerSettings& settings, int64_t batch) const;
  Films recorded(const std::vector<RolloutStart>& starts, int64_t frames) const;
  Films held(const std::vector<RolloutStart>& starts, int64_t frames) const;  // the last given frame again and again
  Films reconstructed(const std::vector<RolloutStart>& starts, int64_t frames) const;

  // (N,h,w,c) -> the bytes of N frames
  Film decode(const Tensor& latents) const;
  int64_t height() const { return world_.notes.height; }
  int64_t width() const { return world_.notes.width; }

 private:
  Films empty(int64_t frames, size_t films) const;

  Runtime& runtime_;
  const LoadedWorldModel& world_;
  const LatentCodec& codec_;
};

// Logs with their latents at the size of a world model's frames.
std::vector<LatentLog> open_latent_logs(Runtime& runtime, const LoadedWorldModel& world, const LatentCodec& codec,
                                        DataSettings data, uint64_t seed);

// Frame i of a film.
Image film_frame(const Films& films, size_t film, int64_t i);

}  // namespace dr
