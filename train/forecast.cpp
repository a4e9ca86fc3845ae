#include "train/forecast.h"

#include "io/loader.h"
#include "kernels/image_to_float/image_to_float.h"
#include "sim/reprojection/level_road.h"

namespace dr {

Tensor Forecaster::operator()(const Tensor& latents, std::span<const CameraModel> cameras,
                              std::span<const Pose> motions) const {
  if (!level_road_) return latents;
  // As bytes in between: what a decoder says beyond black and white would grow from frame to frame.
  const Tensor seen = evaluate(runtime_, ImageToFloat{}, codec_.decode(latents));
  return codec_.latents(sim::moved_on_level_road(runtime_, seen, cameras, motions));
}

void Forecaster::add_to(LatentLog& l) const {
  if (!level_road_ || !l.forecasts.empty()) return;
  constexpr int64_t kFramesAtATime = 16;
  const DrivingLog& log = *l.log;
  const int64_t frames = log.frame_count(), step = frames_to_5_hz(log), c = Tokenizer::kChannels,
                h = log.camera.height / Tokenizer::kReduction, w = log.camera.width / Tokenizer::kReduction,
                numbers = h * w * c;
  CHECK(log.camera.height_m > 0, "{}: the height of its camera above the road is not known; accepted: --no-level-road",
        log.where);
  l.forecasts.resize(size_t(std::min(step, frames) * numbers));  // the first frames have none before them
  for (int64_t first = step; first < frames; first += kFramesAtATime) {
    const int64_t n = std::min(kFramesAtATime, frames - first);
    std::vector<Pose> motions;
    for (int64_t f = first; f < first + n; f++)
      motions.push_back(relative(log.pose_at(log.frame_times_s[size_t(f - step)]), log.pose_at(log.frame_times_s[size_t(f)])));
    const auto from = l.latents.begin() + (first - step) * numbers;
    const Tensor before = runtime_.from(std::vector<float>(from, from + n * numbers), {n, h, w, c});
    const std::vector<float> made = (*this)(before, std::vector<CameraModel>(size_t(n), log.camera), motions).floats();
    l.forecasts.insert(l.forecasts.end(), made.begin(), made.end());
  }
}

}  // namespace dr
