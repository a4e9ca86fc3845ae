#pragma once
// Copies between an image (N,H,W,C) and its patches (N,S,P), in either direction. Last include of a `_cpu.cpp`, as
// simd.h.

#include "kernels/patchify/patch_layout.h"

#include "kernels/core/strided_runs.h"

namespace dr::DR_ISA {

template <class T>
void transpose_patches(Context& ctx, const PatchLayout& l, const View& image_view, const View& tokens_view,
                       bool to_tokens) {
  T *image = static_cast<T*>(image_view.data), *tokens = static_cast<T*>(tokens_view.data);
  const int64_t pixel = image_view.stride(2), line = image_view.stride(1);
  ctx.parallel(l.images * l.rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++)
      for (int64_t column = 0; column < l.columns; column++) {
        T* token =
            tokens + i / l.rows * tokens_view.stride(0) + (i % l.rows * l.columns + column) * tokens_view.stride(1);
        for (int64_t c = 0; c < l.channels; c++)
          for (int64_t y = 0; y < l.patch_h; y++) {
            T* at = image + i / l.rows * image_view.stride(0) + (i % l.rows * l.patch_h + y) * line +
                    column * l.patch_w * pixel + c;
            for (int64_t x = 0; x < l.patch_w; x++, token++) {
              if (to_tokens) *token = at[x * pixel];
              else at[x * pixel] = *token;
            }
          }
      }
  });
}

inline void copy_patches(Context& ctx, const PatchLayout& l, const View& image, const View& tokens, bool to_tokens) {
  if (l.order == PatchOrder::channels_first) {
    with_float_type(image.dtype, [&]<class T>(T*) { transpose_patches<T>(ctx, l, image, tokens, to_tokens); });
    return;
  }
  // Both as (N, row, column, patch row, patch column, channel).
  const Sizes sizes{l.images, l.rows, l.columns, l.patch_h, l.patch_w, l.channels};
  View a(image.data, image.dtype, sizes), b(tokens.data, tokens.dtype, sizes);
  a.strides = {
      image.stride(0), l.patch_h * image.stride(1), l.patch_w * image.stride(2), image.stride(1), image.stride(2), 1};
  b.strides = {tokens.stride(0), l.columns * tokens.stride(1), tokens.stride(1), l.patch_w * l.channels, l.channels, 1};
  if (to_tokens) copy_view(ctx, a, b);
  else copy_view(ctx, b, a);
}

}  // namespace dr::DR_ISA
