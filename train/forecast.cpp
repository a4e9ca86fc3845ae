#include "train/forecast.h"

#include "kernels/add/add.h"
#include "kernels/image_to_float/image_to_float.h"
#include "kernels/mul/mul.h"

namespace dr {

// As bytes in between: what a decoder says beyond black and white would grow from frame to frame.
sim::MovedImage Forecaster::moved(const Seen& seen, std::span<const CameraModel> cameras) const {
  Tensor bytes = seen.pictures ? seen.pictures : pictures(seen.latents);
  if (const auto n = int64_t(seen.motions.size()); bytes.size(0) == 1 && n > 1) {
    const std::vector<uint8_t> one = bytes.to_vector<uint8_t>();
    std::vector<uint8_t> all;
    for (int64_t i = 0; i < n; i++) all.insert(all.end(), one.begin(), one.end());
    bytes = runtime_.from(all, {n, bytes.size(1), bytes.size(2), bytes.size(3)});
  }
  return sim::moved_on_level_road(runtime_, evaluate(runtime_, ImageToFloat{}, bytes), cameras, seen.motions);
}

Tensor Forecaster::operator()(const Seen& last, const Seen& anchor, std::span<const CameraModel> cameras) const {
  if (!level_road_) return last.latents;
  const Tensor by_last = moved(last, cameras).image;
  if (anchor.motions.empty()) return codec_.latents(by_last);
  const sim::MovedImage by_anchor = moved(anchor, cameras);
  std::vector<float> rest = by_anchor.road.floats();
  for (float& share : rest) share = 1 - share;
  const int64_t n = by_last.size(0), h = by_last.size(1), w = by_last.size(2);
  Tape tape(runtime_, {.gradients = false});
  const Tensor near = tape.apply(Mul{}, by_anchor.image, by_anchor.road.reshape({n, h, w, 1})),
               far = tape.apply(Mul{}, by_last, runtime_.from(rest, {n, h, w, 1}));
  return codec_.latents(tape.apply(Add{}, near, far));
}

}  // namespace dr
