#pragma once
// patch_copy.h for devices. Last include of a `.cu`, as gpu.h.

#include "kernels/patchify/patch_layout.h"

#include "kernels/core/gpu_strided.h"

namespace dr::DR_BACKEND {

// A thread per element, or per 16 bytes, in the order of the tokens: what neighbours do to the frames lies within a few
// pixels of a line.
inline void copy_patches(const Context& ctx, const PatchLayout& l, const View& frames, const View& tokens,
                         bool to_tokens) {
  const View video = as_video(frames);
  const int64_t line = video.stride(2), pixel = video.stride(3), token = tokens.stride(1);
  const bool planes = l.order == PatchOrder::channels_first;
  const int64_t volume = l.patch_t * l.patch_h * l.patch_w, step = planes ? 1 : l.channels;  // of a patch's pixels
  StridedIndex<2, 8> index;
  const auto add = [&](int64_t size, int64_t in_video, int64_t in_tokens) {
    index.add(size, {to_tokens ? in_video : in_tokens, to_tokens ? in_tokens : in_video});
  };
  if (!planes) add(l.channels, 1, 1);
  add(l.patch_w, pixel, step);
  add(l.patch_h, line, l.patch_w * step);
  add(l.patch_t, video.stride(1), l.patch_h * l.patch_w * step);
  if (planes) add(l.channels, 1, volume);
  add(l.columns, l.patch_w * pixel, token);
  add(l.rows, l.patch_h * line, l.columns * token);
  add(l.frames, l.patch_t * video.stride(1), l.rows * l.columns * token);
  add(l.batch, video.stride(0), tokens.stride(0));
  copy_strided(ctx, index, tokens.count(), frames.dtype, to_tokens ? video.data : tokens.data,
               to_tokens ? tokens.data : video.data);
}

}  // namespace dr::DR_BACKEND
