#include "kernels/unpatchify/unpatchify.h"

namespace dr {

// Element by element of y, which is packed in a call of reference.
void Unpatchify::reference(const In& in, const Out& out, const Out& bound) const {
  const Sizes s = as_video(out.y).sizes;
  double *y = out.y.as<double>(), *limit = bound.y.as<double>();
  for (int64_t b = 0; b < s[0]; b++)
    for (int64_t t = 0; t < s[1]; t++)
      for (int64_t h = 0; h < s[2]; h++)
        for (int64_t w = 0; w < s[3]; w++)
          for (int64_t c = 0; c < s[4]; c++) {
            const int64_t token = (t / patch_t * rows + h / patch_h) * columns + w / patch_w;
            const int64_t inside = (t % patch_t * patch_h + h % patch_h) * patch_w + w % patch_w;
            const int64_t p = order == PatchOrder::channels_first ? c * patch() + inside : inside * s[4] + c;
            *y++ = in.x.at<double>(b, token, p);
            *limit++ = 0;
          }
}

}  // namespace dr
