#pragma once
// Forecasts: what is known of a frame before a network generates it, as latents. It is what a world model begins from,
// beside its noise, and with `residual` what it corrects (model/world_model.h).
//
//   the last frame     the latent before, as it is
//   level road         the picture of it, moved by the vehicle's motion over a level road (sim/reprojection/level_road.h);
//                      of road that the first anchor shows, the anchor's picture, which was taken from nearer

#include <span>

#include "sim/reprojection/level_road.h"
#include "train/latent_codec.h"

namespace dr {

class Forecaster {
 public:
  Forecaster(Runtime& runtime, const LatentCodec& codec, bool level_road)
      : runtime_(runtime), codec_(codec), level_road_(level_road) {}

  // Frames, (N,h,w,c) or one for all, and N poses that are forecast, each seen from its frame's.
  struct Seen {
    Tensor latents;
    std::vector<Pose> motions;
    Tensor pictures{};  // (N,H,W,3) u8: the latents decoded, by a caller who has them already
  };
  // (N,h,w,c) from the frames before, the anchors or none, and the cameras of all of them. Throws where the level road
  // needs a camera's height and it is not known.
  Tensor operator()(const Seen& last, const Seen& anchor, std::span<const CameraModel> cameras) const;
  bool level_road() const { return level_road_; }
  Tensor pictures(const Tensor& latents) const { return codec_.decode(latents); }

 private:
  sim::MovedImage moved(const Seen& seen, std::span<const CameraModel> cameras) const;

  Runtime& runtime_;
  const LatentCodec& codec_;
  bool level_road_;
};

}  // namespace dr
