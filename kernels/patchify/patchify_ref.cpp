#include "kernels/patchify/patchify.h"

namespace dr {

void Patchify::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t columns = in.x.size(2) / patch_w, channels = in.x.size(3);
  for (int64_t n = 0; n < in.x.size(0); n++)
    for (int64_t y = 0; y < in.x.size(1); y++)
      for (int64_t x = 0; x < in.x.size(2); x++)
        for (int64_t c = 0; c < channels; c++) {
          const int64_t a = y % patch_h, b = x % patch_w, token = y / patch_h * columns + x / patch_w;
          const int64_t p =
              order == PatchOrder::channels_first ? (c * patch_h + a) * patch_w + b : (a * patch_w + b) * channels + c;
          out.y.at<double>(n, token, p) = in.x.at<double>(n, y, x, c);
          bound.y.at<double>(n, token, p) = 0;
        }
}

}  // namespace dr
