#pragma once
// Convolution of an image of few channels, as the first layer of a network: a window's row is one run of elements, so
// tiles take the elements of their patches from whole lines of the image instead of packed patches, which would cost a
// quarter of the arithmetic. A place's lines are the same memory shifted by a pixel.
// Last include of a `_cpu.cpp`.

#include "kernels/conv2d/geometry.h"

#include "kernels/core/gemm.h"

namespace dr::DR_ISA {

#if defined(DR_ISA_avx512)
inline constexpr int kLinePlaces = 12;  // times two vectors: 24 sums, 2 of the weights, broadcasts
#elif defined(DR_ISA_avx2)
inline constexpr int kLinePlaces = 6;
#else
inline constexpr int kLinePlaces = 4;
#endif

// Whether convolve_lines takes this call: windows of one chunk, whose rows lie in a row, and places for a tile.
inline bool has_few_inputs(const Conv2d& op, const Conv2d::In& in, const Sizes& y) {
  const Sizes& k = in.weight.sizes;
  return op.groups == 1 && op.dilation.w == 1 && k[3] < W && k[1] * k[2] * k[3] <= kChainChunk && k[0] > W / 2 &&
         y[2] >= kLinePlaces;
}

// Chains over the windows of kLinePlaces places, for NV vectors of outputs: `rows` runs of `run` elements, that of
// place i in lines[r] from first + i*step on. weights: a panel of NV vectors. Place i goes to y + i*distance, with
// shift added where it is not null; the last vector has `lanes` outputs.
template <int NV, class T>
__attribute__((noinline)) void line_tile(const float* const* lines, int64_t first, int64_t rows, int64_t run,
                                         int64_t step, const float* weights, T* y, int64_t distance,
                                         const f32v* shift, int lanes) {
  f32v sum[kLinePlaces][NV] = {};
#pragma GCC unroll 16
  for (int i = 0; i < kLinePlaces; i++)
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) __builtin_prefetch(y + i * distance + j * W, 1);
  for (int64_t r = 0; r < rows; r++) {
    const float* x = lines[r] + first;
    for (int64_t k = 0; k < run; k++, x++, weights += NV * W) {
      f32v w[NV];
#pragma GCC unroll 4
      for (int j = 0; j < NV; j++) w[j] = load(weights + j * W);
#pragma GCC unroll 16
      for (int i = 0; i < kLinePlaces; i++) {
        const f32v element = splat(x[i * step]);
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++) sum[i][j] = fma(element, w[j], sum[i][j]);
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kLinePlaces; i++, y += distance)
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) {
      const f32v v = shift ? sum[i][j] + shift[j] : sum[i][j];
      if (j + 1 < NV || lanes == W) store(y + j * W, v);
      else store_n(y + j * W, v, lanes);
    }
}

// Pixels [first, first + count) of row h of image n, +0 outside.
template <class T>
void copy_line(const View& image, int64_t n, int64_t h, int64_t first, int64_t count, float* line) {
  const int64_t channels = image.size(3), pixel = image.stride(2);
  const bool there = h >= 0 && h < image.size(1);
  const int64_t begin = there ? std::clamp<int64_t>(-first, 0, count) : count;
  const int64_t end = there ? std::clamp(image.size(2) - first, begin, count) : count;
  std::memset(line, 0, size_t(begin * channels) * sizeof(float));
  std::memset(line + end * channels, 0, size_t((count - end) * channels) * sizeof(float));
  const T* from =
      static_cast<const T*>(image.data) + n * image.stride(0) + h * image.stride(1) + (first + begin) * pixel;
  auto copy = [&](const T* x, int64_t elements, float* to) {
    for_vectors(elements, [&](int64_t i, auto m) { store_n(to + i, load_n(x + i, m), m); });
  };
  if (pixel == channels) return copy(from, (end - begin) * channels, line + begin * channels);
  for (int64_t i = begin; i < end; i++, from += pixel) copy(from, channels, line + i * channels);
}

// y = chains + bias. weight (O, K) of type TW, packed: as panels into `panels`, room for O whole vectors wide.
template <class T, class TW>
void convolve_lines(const Context& ctx, const View& image, const AxisTaps& h, const AxisTaps& w, const TW* weight,
                    const TW* bias, float* panels, const View& y) {
  const int64_t channels = image.size(3), outputs = y.size(3), run = w.taps() * channels, inner = h.taps() * run;
  const int64_t vectors = (outputs + W - 1) / W, step = w.step * channels;
  for (int64_t v = 0; v < vectors; v += 2) {
    const int64_t width = std::min<int64_t>(2, vectors - v) * W;
    for (int64_t o = v * W; o < v * W + width; o += W)
      pack_b_transposed(inner, std::min<int64_t>(W, outputs - o), weight + o * inner, inner,
                        panels + v * W * inner + (o - v * W), width);
  }
  const int64_t pixels = (w.count - 1) * w.step + w.taps(), line = pixels * channels;
  const int64_t span = h.offset.back() - h.offset.front() + 1;
  ctx.parallel(y.size(0) * h.count, 8, [&](int64_t begin, int64_t end) {
    float* const buffer = gemm_buffer(size_t(span * line) * sizeof(float));
    std::vector<int64_t> held(size_t(span), INT64_MIN);  // which row of image n a line holds
    std::vector<const float*> lines(size_t(h.taps()));
    for (int64_t t = begin; t < end; t++) {
      const int64_t n = t / h.count, row = t % h.count;
      if (row == 0) std::fill(held.begin(), held.end(), INT64_MIN);
      for (size_t r = 0; r < lines.size(); r++) {
        const int64_t at = row * h.step + h.offset[r], slot = (at - h.offset.front()) % span;
        float* const to = buffer + slot * line;
        if (held[size_t(slot)] != at) copy_line<T>(image, n, at, w.offset[0], pixels, to);
        held[size_t(slot)] = at;
        lines[r] = to;
      }
      T* const out = static_cast<T*>(y.data) + n * y.stride(0) + row * y.stride(1);
      for (int64_t p = 0; p < w.count; p += kLinePlaces) {
        const int64_t place = std::min(p, w.count - kLinePlaces);  // the last tile may begin inside the one before
        for (int64_t v = 0; v < vectors; v += 2) {
          const bool two = v + 1 < vectors;
          const int64_t o = v * W, last = o + (two ? W : 0);
          const int lanes = int(std::min<int64_t>(W, outputs - last));
          f32v shift[2] = {};
          if (bias) shift[two] = load_n(bias + last, lanes);
          if (bias && two) shift[0] = load(bias + o);
          (two ? line_tile<2, T> : line_tile<1, T>)(lines.data(), place * step, h.taps(), run, step, panels + o * inner,
                                                    out + place * y.stride(2) + o, y.stride(2), bias ? shift : nullptr,
                                                    lanes);
        }
      }
    }
  });
}

}  // namespace dr::DR_ISA
