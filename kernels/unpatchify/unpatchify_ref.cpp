#include "kernels/unpatchify/unpatchify.h"

namespace dr {

void Unpatchify::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t channels = in.x.size(2) / (patch_h * patch_w);
  for (int64_t n = 0; n < in.x.size(0); n++)
    for (int64_t s = 0; s < in.x.size(1); s++)
      for (int64_t p = 0; p < in.x.size(2); p++) {
        const bool first = order == PatchOrder::channels_first;
        const int64_t c = first ? p / (patch_h * patch_w) : p % channels;
        const int64_t inside = first ? p % (patch_h * patch_w) : p / channels;
        const int64_t y = s / columns * patch_h + inside / patch_w, x = s % columns * patch_w + inside % patch_w;
        out.y.at<double>(n, y, x, c) = in.x.at<double>(n, s, p);
        bound.y.at<double>(n, y, x, c) = 0;
      }
}

}  // namespace dr
