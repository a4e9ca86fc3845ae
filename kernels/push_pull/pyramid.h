#pragma once
// Levels of the pyramid and weights between them: what CPU and devices share. kernels/push_pull/push_pull.h states
// them. Last include of a `_cpu.cpp`, as simd.h.

#include "kernels/core/carver.h"
#include "kernels/push_pull/push_pull.h"

#include "kernels/core/simd.h"

namespace dr::DR_ISA {

// Pixels of one level of all images.
template <class T>
struct Plane {
  T* data;
  int64_t h, w;
  int64_t image, row, pixel;  // strides
  Plane(T* data_, int64_t h_, int64_t w_, int64_t c)
      : data(data_), h(h_), w(w_), image(h * w * c), row(w * c), pixel(c) {}
  explicit Plane(const View& v)
      : data(static_cast<T*>(v.data)), h(v.size(1)), w(v.size(2)), image(v.stride(0)), row(v.stride(1)),
        pixel(v.rank() == 4 ? v.stride(2) : 1) {}
  DR_INLINE T* at(int64_t n, int64_t i, int64_t j) const { return data + n * image + i * row + j * pixel; }
};
inline Plane<const float> read(const Plane<float>& p) { return __builtin_bit_cast(Plane<const float>, p); }

// The pyramid of a call in its scratch: weights of every level, pixels of level 1 and coarser.
struct Pyramid {
  PushPull::Levels levels;
  int64_t images, channels;
  float *weights, *pixels;

  Pyramid(const Context& ctx, const View& image)
      : levels(image.size(1), image.size(2)), images(image.size(0)), channels(image.size(3)) {
    const int64_t before = whole_lines(images * levels.pixels());
    weights = ctx.scratch_as<float>(size_t(before + images * levels.coarse_pixels() * channels));
    pixels = weights + before;
  }
  Plane<float> weight(int k) const { return {weights + images * levels.before[k], levels.h[k], levels.w[k], 1}; }
  Plane<float> level(int k) const {
    return {pixels + images * (levels.before[k] - levels.before[1]) * channels, levels.h[k], levels.w[k], channels};
  }
};

// An input's weight in level 0.
DR_INLINE float clamped(float w) { return w > 0 ? (w < 1 ? w : 1.f) : 0.f; }
DR_INLINE float clamped(uint8_t w) { return w != 0 ? 1.f : 0.f; }

// f(child's row, column, weight) for those of pixel (i, j)'s children that have a weight, which `fine` holds.
template <class P, class F>
DR_INLINE void for_children(const Plane<P>& fine, int64_t n, int64_t i, int64_t j, F&& f) {
  const int64_t end_row = 2 * i + 2 < fine.h ? 2 * i + 2 : fine.h, end_col = 2 * j + 2 < fine.w ? 2 * j + 2 : fine.w;
  for (int64_t a = 2 * i; a < end_row; a++)
    for (int64_t b = 2 * j; b < end_col; b++)
      if (const float w = *fine.at(n, a, b); w > 0) f(a, b, w);
}
template <class P>
DR_INLINE float total(const Plane<P>& fine, int64_t n, int64_t i, int64_t j) {
  float sum = 0;
  for_children(fine, n, i, j, [&](int64_t, int64_t, float w) { sum += w; });
  return sum;
}

// The parent's neighbour on the side of pixel i, or the parent itself where there is none.
DR_INLINE int64_t beside(int64_t i, int64_t coarse) {
  const int64_t other = i % 2 ? i / 2 + 1 : i / 2 - 1;
  return other < 0 || other >= coarse ? i / 2 : other;
}
DR_INLINE f32v toward(f32v a, f32v b) { return fma(splat(0.25f), b - a, a); }

// Weight of coarse pixel a in up of pixel i.
DR_INLINE float up_weight(int64_t i, int64_t a, int64_t coarse) {
  const int64_t other = beside(i, coarse);
  return (i / 2 == a ? 0.75f : 0.f) + (other == a ? 0.25f : 0.f);
}

}  // namespace dr::DR_ISA
