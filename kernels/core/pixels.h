#pragma once
// An image tensor (N,H,W,C) as matrices of pixels by channels: one matrix for each run of equally many images.

#include "kernels/core/view.h"

namespace dr {

struct PixelRows {
  int64_t units = 0, rows = 0, cols = 0;      // rows: the pixels of a unit
  int64_t unit_stride = 0, row_stride = 0;    // elements
};

// Throws if the pixels of a unit of `images` images are not evenly spaced.
inline PixelRows pixel_rows(const View& v, int64_t images, std::string_view what) {
  CHECK(v.rank() == 4, "{} must be (N,H,W,C), got {}", what, to_string(v));
  CHECK(images > 0 && v.size(0) % images == 0, "{}: {} images do not divide into units of {}", what, v.size(0), images);
  PixelRows p{v.size(0) / images, images * v.size(1) * v.size(2), v.size(3), images * v.stride(0), v.size(3)};
  int64_t spanned = 1;
  for (int axis = 2; axis >= 0 && p.rows > 0; axis--) {
    const int64_t n = axis == 0 ? images : v.size(axis);
    if (n == 1) continue;
    if (spanned == 1) p.row_stride = v.stride(axis);
    CHECK(v.stride(axis) == spanned * p.row_stride, "{}: the pixels of {} are not evenly spaced", what, to_string(v));
    spanned *= n;
  }
  return p;
}

}  // namespace dr
