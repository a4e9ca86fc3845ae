#include "train/image_score.h"

#include <algorithm>
#include <limits>

#include "kernels/image_to_float/image_to_float.h"
#include "kernels/ssim/ssim.h"
#include "sim/reprojection/reprojection.h"

namespace dr {

std::vector<ImageScore> ImageScorer::compare(const Films& a, const Films& b) const {
  CHECK(a.frames == b.frames && a.height == b.height && a.width == b.width && a.list.size() == b.list.size() &&
            !a.list.empty(),
        "image score: {} films of {} frames of {} x {} beside {} of {} frames of {} x {}", a.list.size(), a.frames,
        a.width, a.height, b.list.size(), b.frames, b.width, b.height);
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  const bool windows = std::min(a.height, a.width) >= Ssim::kWindow;
  std::vector<ImageScore> sums(size_t(a.frames), ImageScore{0, windows ? 0 : kNone, lpips_ ? 0 : kNone});
  for (size_t f = 0; f < a.list.size(); f++) {
    for (int64_t i = 0; i < a.frames; i++) {
      int64_t squares = 0;
      const uint8_t *x = a.frame(f, i), *y = b.frame(f, i);
      for (int64_t k = 0; k < a.frame_bytes(); k++) squares += (int(x[k]) - int(y[k])) * (int(x[k]) - int(y[k]));
      sums[size_t(i)].psnr_db += sim::psnr_db(double(std::max<int64_t>(1, squares)) / double(a.frame_bytes()));
    }
    if (!windows && !lpips_) continue;
    Tape tape(runtime_, {.gradients = false});
    const Sizes sizes{a.frames, a.height, a.width, 3};
    const Tensor x = tape.apply(ImageToFloat{}, runtime_.from(a.list[f], sizes));
    const Tensor y = tape.apply(ImageToFloat{}, runtime_.from(b.list[f], sizes));
    const std::vector<float> ssim = windows ? tape.apply(Ssim{}, x, y).floats() : std::vector<float>();
    const std::vector<float> lpips = lpips_ ? lpips_(tape, x, y).floats() : std::vector<float>();
    for (size_t i = 0; i < sums.size(); i++) {
      if (windows) sums[i].ssim += double(ssim[i]);
      if (lpips_) sums[i].lpips += double(lpips[i]);
    }
  }
  const double n = double(a.list.size());
  for (ImageScore& s : sums) s.psnr_db /= n, s.ssim /= n, s.lpips /= n;
  return sums;
}

ImageScore mean(const std::vector<ImageScore>& scores) {
  ImageScore m;
  for (const ImageScore& s : scores) m.psnr_db += s.psnr_db, m.ssim += s.ssim, m.lpips += s.lpips;
  const double n = double(scores.size());
  return {m.psnr_db / n, m.ssim / n, m.lpips / n};
}

}  // namespace dr
