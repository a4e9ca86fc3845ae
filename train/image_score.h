#pragma once
// How alike two films are: PSNR over bytes, structural similarity, and LPIPS where its weights are given.

#include <functional>

#include "runtime/tape.h"

namespace dr {

struct ImageScore {
  double psnr_db = 0, ssim = 0, lpips = 0;
};

// Frames of a rollout or a log, (N,H,W,3) u8.
using Film = std::vector<uint8_t>;
struct Films {
  int64_t frames = 0, height = 0, width = 0;
  std::vector<Film> list;  // one per rollout, all of the same size

  int64_t frame_bytes() const { return height * width * 3; }
  const uint8_t* frame(size_t film, int64_t i) const { return list[film].data() + i * frame_bytes(); }
};

class ImageScorer {
 public:
  // The distance of (N,H,W,3) f32 images in [-1,1], (N).
  using Distance = std::function<Tensor(Tape&, const Tensor&, const Tensor&)>;
  ImageScorer(Runtime& runtime, Distance lpips) : runtime_(runtime), lpips_(std::move(lpips)) {}

  bool has_lpips() const { return bool(lpips_); }
  // For every frame number the means over films. A frame without any error counts as one of one level in one value.
  // SSIM is NaN for frames smaller than its window, LPIPS without weights.
  std::vector<ImageScore> compare(const Films& a, const Films& b) const;

 private:
  Runtime& runtime_;
  Distance lpips_;
};

ImageScore mean(const std::vector<ImageScore>& scores);

}  // namespace dr
