#pragma once
// How frames are cut into patches: what patchify and unpatchify share.

#include "kernels/core/op.h"

namespace dr {

// The order of a patch's elements: (frame, row, column, channel), our own, or (channel, frame, row, column), that of
// the `comma` preset's files.
enum class PatchOrder : uint8_t { channels_last, channels_first };

struct PatchLayout {
  int64_t batch = 0, frames = 0, rows = 0, columns = 0;  // the last three of patches
  int64_t patch_t = 1, patch_h = 1, patch_w = 1, channels = 0;
  PatchOrder order = PatchOrder::channels_last;

  Sizes video() const { return {batch, frames * patch_t, rows * patch_h, columns * patch_w, channels}; }
  Sizes images() const { return {batch, rows * patch_h, columns * patch_w, channels}; }
  Sizes tokens() const { return {batch, frames * rows * columns, patch_t * patch_h * patch_w * channels}; }
};

// Images (N,H,W,C) as videos (N,1,H,W,C) of one frame.
inline View as_video(const View& v) {
  if (v.rank() == 5) return v;
  View five = v;
  five.sizes = {v.size(0), 1, v.size(1), v.size(2), v.size(3)};
  five.strides = {v.stride(0), 0, v.stride(1), v.stride(2), v.stride(3)};
  return five;
}

}  // namespace dr
