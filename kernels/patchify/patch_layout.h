#pragma once
// How an image is cut into patches: what patchify and unpatchify share.

#include "kernels/core/op.h"

namespace dr {

// The order of a patch's elements: (row, column, channel), our own, or (channel, row, column), that of the `comma`
// preset's files.
enum class PatchOrder : uint8_t { channels_last, channels_first };

struct PatchLayout {
  int64_t images = 0, rows = 0, columns = 0, patch_h = 1, patch_w = 1, channels = 0;  // rows and columns of patches
  PatchOrder order = PatchOrder::channels_last;

  Sizes image() const { return {images, rows * patch_h, columns * patch_w, channels}; }
  Sizes tokens() const { return {images, rows * columns, patch_h * patch_w * channels}; }
};

}  // namespace dr
