#pragma once
// Forecasts: what the frame before a frame says about it, as latents. It is what a world model begins from, beside its
// noise, and with `residual` what it corrects (model/world_model.h).
//
//   the last frame     the latent before, as it is
//   level road         the picture of it, moved by the vehicle's motion over a level road (sim/reprojection/level_road.h)

#include <span>

#include "train/latent_codec.h"

namespace dr {

class Forecaster {
 public:
  Forecaster(Runtime& runtime, const LatentCodec& codec, bool level_road)
      : runtime_(runtime), codec_(codec), level_road_(level_road) {}

  // latents (N,h,w,c) of frames from these cameras; motions: of each vehicle, from there to the pose that is forecast,
  // in its own axes. (N,h,w,c). Throws where the level road needs a camera's height and it is not known.
  Tensor operator()(const Tensor& latents, std::span<const CameraModel> cameras, std::span<const Pose> motions) const;
  // Of all frames of the log, each from the one 0.2 s before it; what is there already stays.
  void add_to(LatentLog& log) const;

 private:
  Runtime& runtime_;
  const LatentCodec& codec_;
  bool level_road_;
};

}  // namespace dr
