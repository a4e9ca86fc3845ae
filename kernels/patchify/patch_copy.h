#pragma once
// Copies between a video (B,T,H,W,C) and its patches (B,S,P), in either direction. Last include of a `_cpu.cpp`, as
// simd.h.

#include "kernels/patchify/patch_layout.h"

#include "kernels/core/simd.h"

namespace dr::DR_ISA {

template <class T>
void copy_patches(Context& ctx, const PatchLayout& l, const View& frames, const View& tokens_view, bool to_tokens) {
  const View video = as_video(frames);
  const int64_t line = video.stride(2), pixel = video.stride(3);
  auto copy = [&](T* image, T* token, int64_t n) {
    std::memcpy(to_tokens ? token : image, to_tokens ? image : token, size_t(n) * sizeof(T));
  };
  // One line of patches at a time.
  ctx.parallel(l.batch * l.frames * l.rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t b = i / (l.frames * l.rows), t = i / l.rows % l.frames, r = i % l.rows;
      T* const image = static_cast<T*>(video.data) + b * video.stride(0) + t * l.patch_t * video.stride(1) +
                       r * l.patch_h * line;
      T* const first = static_cast<T*>(tokens_view.data) + b * tokens_view.stride(0) +
                       i % (l.frames * l.rows) * l.columns * tokens_view.stride(1);
      for (int64_t column = 0; column < l.columns; column++) {
        T* token = first + column * tokens_view.stride(1);
        for (int64_t pt = 0; pt < l.patch_t; pt++)
          for (int64_t ph = 0; ph < l.patch_h; ph++) {
            T* const at = image + pt * video.stride(1) + ph * line + column * l.patch_w * pixel;
            const int64_t row = pt * l.patch_h + ph;  // of the patch
            if (l.order == PatchOrder::channels_first) {
              T* const to = token + row * l.patch_w;
              const int64_t plane = l.patch_t * l.patch_h * l.patch_w;
              for (int64_t pw = 0; pw < l.patch_w; pw++)
                for (int64_t c = 0; c < l.channels; c++) {
                  if (to_tokens) to[c * plane + pw] = at[pw * pixel + c];
                  else at[pw * pixel + c] = to[c * plane + pw];
                }
            } else if (pixel == l.channels) {
              copy(at, token + row * l.patch_w * l.channels, l.patch_w * l.channels);
            } else {
              for (int64_t pw = 0; pw < l.patch_w; pw++)
                copy(at + pw * pixel, token + (row * l.patch_w + pw) * l.channels, l.channels);
            }
          }
      }
    }
  });
}

inline void copy_patches(Context& ctx, const PatchLayout& l, const View& frames, const View& tokens, bool to_tokens) {
  with_float_type(frames.dtype, [&]<class T>(T*) { copy_patches<T>(ctx, l, frames, tokens, to_tokens); });
}

}  // namespace dr::DR_ISA
