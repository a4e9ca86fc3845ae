#pragma once
// Images that others are sampled from: padding, sizes, and how their gradient is shared out.

#include <algorithm>

#include "kernels/core/op.h"
#include "kernels/core/place_sort.h"

namespace dr {

// What a sample finds outside the image: zeros, or the nearest pixel of the border.
enum class Padding : uint8_t { zeros, border };

// (N,H,W,C), an image small enough to be indexed in 32 bits.
inline void expect_image(const View& v, std::string_view what) {
  expect_float(v, what);
  CHECK(v.rank() == 4 && v.size(1) >= 1 && v.size(2) >= 1 && v.size(3) >= 1 && v.size(3) <= 4096,
        "{} must be (N,H,W,C) with at least one pixel and 1 to 4096 channels, got {}", what, to_string(v));
  CHECK(v.size(1) <= 1 << 24 && v.size(2) <= 1 << 24, "{}: H and W may be 2^24 at most, got {}", what, to_string(v));
  const int64_t row = std::max(v.stride(1), v.size(2) * v.size(3));
  CHECK((v.size(1) + 1) * row + v.size(2) * v.stride(2) < INT32_MAX, "{}: an image may span 2^31 elements, got {}",
        what, to_string(v));
}

// An image whose gradient is a scatter is cut into bands of rows: one thread sums a band, so that its sums have one
// order and no two threads write to one pixel. The thread looks at every sample of the image, hence no more bands than
// keep all threads busy.
struct RowBands {
  int64_t bands = 1, rows = 0, row_elements = 0;

  int64_t begin(int64_t band) const { return band * rows / bands; }
  // Scratch for the f32 sums of one band per thread.
  int64_t band_elements() const { return ((rows + bands - 1) / bands * row_elements + 15) / 16 * 16; }
  size_t sum_bytes(int threads) const { return size_t(threads) * size_t(band_elements()) * sizeof(float); }
};

inline RowBands row_bands(const View& images, int threads) {
  const int64_t n = std::max<int64_t>(1, images.size(0)), rows = images.size(1), wanted = 2 * int64_t(threads);
  const int64_t bands = threads == 1 || n >= wanted ? 1 : std::min(rows, (wanted + n - 1) / n);
  return {bands, rows, images.size(2) * images.size(3)};
}

// On a device the scatter is a gather: samples are sorted by the cell between four pixels into which they fall. An
// image of H x W has (H + 1)(W + 1) cells.
struct ScatterSize {
  int64_t samples, cells;
  static int64_t cells_of(int64_t height, int64_t width) { return (height + 1) * (width + 1); }
  PlaceSort sort() const { return {1, samples, cells + 1}; }  // key `cells`: no cell
  size_t bytes() const { return (sort().words() + size_t(cells + 1)) * sizeof(int32_t); }
};

}  // namespace dr
