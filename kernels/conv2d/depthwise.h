#pragma once
// Convolution with one filter per channel, and its gradients: a vector of channels at a time, so that the chain of each
// channel runs along the taps in its lane. The rows that a piece of work reads are first copied into lines: one vector
// per pixel, with the padding round them, widened to f32. So no tap asks whether it lies in the image, and a pixel that
// many windows share comes from the first cache.
// Last include of a `_cpu.cpp`.

#include "kernels/conv2d/geometry.h"

#include "kernels/core/gemm.h"

namespace dr::DR_ISA {

// The widths of windows that have kernels: the usual ones, and what a stride of two leaves of them for dx.
template <class F>
bool with_taps(int64_t taps, int64_t step, F&& f) {
  auto call = [&]<int TW, int Step>() { return f(std::integral_constant<int, TW>{}, std::integral_constant<int, Step>{}), true; };
  switch (step * 8 + taps) {
    case 8 + 1: return call.template operator()<1, 1>();
    case 8 + 2: return call.template operator()<2, 1>();
    case 8 + 3: return call.template operator()<3, 1>();
    case 8 + 4: return call.template operator()<4, 1>();
    case 8 + 5: return call.template operator()<5, 1>();
    case 8 + 7: return call.template operator()<7, 1>();
    case 16 + 3: return call.template operator()<3, 2>();
    case 16 + 5: return call.template operator()<5, 2>();
    case 16 + 7: return call.template operator()<7, 2>();
    default: return false;
  }
}

// Whether the kernels below take this call.
inline bool has_depthwise_kernel(const Conv2d& op, const Conv2d::In& in) {
  const Sizes& k = in.weight.sizes;
  return op.depthwise(in) && op.dilation == Conv2d::Pair{} && (op.stride.w == 1 || op.stride.w == 2) &&
         (k[2] == 3 || k[2] == 5 || k[2] == 7) && k[1] * k[2] <= kChainChunk;
}

// Vectors of channels, and the lanes of each that are channels.
struct ChannelVectors {
  int64_t channels;
  int64_t count() const { return (channels + W - 1) / W; }
  int lanes(int64_t v) const { return int(std::min<int64_t>(W, channels - v * W)); }
};

// out[vector][tap][lane], zero in lanes past the last channel; weight (C, taps).
template <class T>
void pack_filters(const T* weight, int64_t channels, int64_t taps, float* out) {
  for (int64_t c = 0; c < (channels + W - 1) / W * W; c++)
    for (int64_t t = 0; t < taps; t++)
      out[(c / W * taps + t) * W + c % W] = c < channels ? load1(weight + c * taps + t) : 0.f;
}

// Rows [row0, row0 + rows) and columns [col0, col0 + cols) of a vector of channels of image n, +0 outside.
template <class T>
void copy_lines(const View& image, int64_t n, int64_t row0, int64_t rows, int64_t col0, int64_t cols, int64_t channel,
                int lanes, float* lines) {
  const int64_t begin = std::clamp<int64_t>(-col0, 0, cols), end = std::clamp(image.size(2) - col0, begin, cols);
  const int64_t pixel = image.stride(2);
  for (int64_t r = 0; r < rows; r++, lines += cols * W) {
    const int64_t h = row0 + r;
    const bool inside = h >= 0 && h < image.size(1);
    const int64_t b = inside ? begin : cols, e = inside ? end : cols;
    for (int64_t j = 0; j < b; j++) store(lines + j * W, f32v{});
    const T* from = static_cast<const T*>(image.data) + n * image.stride(0) + h * image.stride(1) + col0 * pixel + channel;
    if (lanes == W)
      for (int64_t j = b; j < e; j++) store(lines + j * W, load(from + j * pixel));
    else
      for (int64_t j = b; j < e; j++) store(lines + j * W, load_n(from + j * pixel, lanes));
    for (int64_t j = e; j < cols; j++) store(lines + j * W, f32v{});
  }
}

// ---- sums along the window ----

// What one row of places reads: its windows begin at x, `line` apart are their rows; the filter's rows are w_row apart,
// its taps w_step (both in floats).
struct WindowRow {
  const float *x, *w;
  int64_t rows, line, w_row, w_step;
};

#if defined(DR_ISA_avx512)
inline constexpr int kMostPlaces = 16;  // sums, a row of the filter and a pixel: 24 registers
#else
inline constexpr int kMostPlaces = 8;
#endif

// sums[b] = chain over the window of place b, for B places. A pixel is loaded once and goes to all windows that hold it,
// to each at its own tap; pixels come in ascending order, and so do the taps of each place.
template <int TW, int Step, int B>
__attribute__((noinline)) void window_sums(const WindowRow& in, float* sums) {
  f32v sum[B] = {};
  const float *x = in.x, *weight = in.w;
  for (int64_t r = 0; r < in.rows; r++, x += in.line, weight += in.w_row) {
    f32v w[TW];
#pragma GCC unroll 8
    for (int j = 0; j < TW; j++) w[j] = load(weight + j * in.w_step);
#pragma GCC unroll 64
    for (int i = 0; i < (B - 1) * Step + TW; i++) {
      const f32v pixel = load(x + i * W);
#pragma GCC unroll 16
      for (int b = 0; b < B; b++)
        if (i >= b * Step && i < b * Step + TW) sum[b] = fma(pixel, w[i - b * Step], sum[b]);
    }
  }
#pragma GCC unroll 16
  for (int b = 0; b < B; b++) store(sums + b * W, sum[b]);
}

// All places of a row. The last block may begin before the one before it ends.
template <int TW, int Step, int B = kMostPlaces>
void row_sums(const WindowRow& in, int64_t count, float* sums) {
  auto at = [&](int64_t t) {
    WindowRow here = in;
    here.x += t * Step * W;
    return here;
  };
  int64_t t = 0;
  for (; t + B <= count; t += B) window_sums<TW, Step, B>(at(t), sums + t * W);
  if (t == count) return;
  if constexpr (B > 1) {
    if (t > 0 && count - t > B / 2) window_sums<TW, Step, B>(at(count - B), sums + (count - B) * W);
    else row_sums<TW, Step, B / 2>(at(t), count - t, sums + t * W);
  }
}

// to = sums + bias of the places of `phases`, which are all the pixels of `to`. filters: pack_filters of KH x KW taps.
struct DepthwisePhase {
  AxisTaps h, w;
};
inline constexpr int64_t kLineBytes = 192 << 10;  // of lines: most of a second-level cache

template <class TX, class TY, class Bias>
void depthwise_sums(const Context& ctx, const View& image, const std::vector<DepthwisePhase>& phases, const float* filters,
                    int64_t kh, int64_t kw, const View& to, const Bias* bias) {
  if (to.count() == 0) return;
  // The lines hold what any phase reads.
  int64_t first_h = INT64_MAX, last_h = INT64_MIN, first_w = INT64_MAX, past_w = INT64_MIN, most_h = 0;
  for (const DepthwisePhase& p : phases) {
    most_h = std::max(most_h, p.h.count);
    if (p.h.taps() == 0 || p.w.taps() == 0) continue;
    first_h = std::min(first_h, p.h.offset.front()), last_h = std::max(last_h, p.h.offset.back());
    first_w = std::min(first_w, p.w.offset.front());
    past_w = std::max(past_w, (p.w.count - 1) * p.w.step + p.w.offset.back() + 1);
  }
  if (first_h > last_h) first_h = last_h = first_w = 0, past_w = 1;
  const int64_t step = phases[0].h.step, line = (past_w - first_w) * W;
  const int64_t fit = (kLineBytes / (line * int64_t(sizeof(float))) - (last_h - first_h)) / step;
  const int64_t blocks = (most_h + std::max<int64_t>(fit, 4) - 1) / std::max<int64_t>(fit, 4);
  const ChannelVectors vectors{to.size(3)};

  ctx.parallel(to.size(0) * blocks * vectors.count(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; t++) {
      const int64_t v = t % vectors.count(), block = t / vectors.count() % blocks, n = t / vectors.count() / blocks;
      const int64_t h0 = block * most_h / blocks, h1 = (block + 1) * most_h / blocks, c = v * W;
      const int lanes = vectors.lanes(v);
      const int64_t row0 = h0 * step + first_h, rows = (h1 - 1 - h0) * step + last_h - first_h + 1;
      float* const lines = gemm_buffer(size_t(rows * line + to.size(2) * W) * sizeof(float));
      float* const sums = lines + rows * line;
      copy_lines<TX>(image, n, row0, rows, first_w, past_w - first_w, c, lanes, lines);
      const f32v shift = bias ? load_n(bias + c, lanes) : f32v{};
      for (const DepthwisePhase& p : phases) {
        const bool none = p.h.taps() == 0 || p.w.taps() == 0;
        auto distance = [](const std::vector<int64_t>& a) { return a.size() > 1 ? a[1] - a[0] : 0; };
        for (int64_t h = h0; h < std::min(h1, p.h.count); h++) {
          if (none) {
            for (int64_t i = 0; i < p.w.count; i++) store(sums + i * W, f32v{});
          } else {
            const WindowRow row{.x = lines + (h * step + p.h.offset[0] - row0) * line + (p.w.offset[0] - first_w) * W,
                                .w = filters + (v * kh * kw + p.h.kernel[0] * kw + p.w.kernel[0]) * W,
                                .rows = p.h.taps(),
                                .line = distance(p.h.offset) * line,
                                .w_row = distance(p.h.kernel) * kw * W,
                                .w_step = distance(p.w.kernel) * W};
            with_taps(p.w.taps(), p.w.step, [&]<int TW, int Step>(std::integral_constant<int, TW>, std::integral_constant<int, Step>) {
              row_sums<TW, Step>(row, p.w.count, sums);
            });
          }
          TY* y = static_cast<TY*>(to.data) + n * to.stride(0) + (p.h.out_first + h * p.h.out_step) * to.stride(1) +
                  p.w.out_first * to.stride(2) + c;
          const int64_t pixel = p.w.out_step * to.stride(2);
          auto write = [&](auto count) {
            for (int64_t i = 0; i < p.w.count; i++) {
              const f32v sum = load(sums + i * W);
              store_n(y + i * pixel, bias ? sum + shift : sum, count);
            }
          };
          if (lanes == W) write(std::integral_constant<int, W>{});
          else write(lanes);
        }
      }
    }
  });
}

// ---- sums along the positions: the gradient of the filters ----

#if defined(DR_ISA_avx512)
inline constexpr int kMostSums = 28;
#else
inline constexpr int kMostSums = 14;
#endif

// sums[r][j] += chain over `count` positions of x[r*line + j] dy, for R rows of TW taps.
template <int TW, int R, class T, class N>
void tap_sums(const float* x, int64_t line, int64_t x_step, const T* dy, int64_t dy_step, int64_t count, N lanes,
              float* sums) {
  f32v sum[R][TW];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 8
    for (int j = 0; j < TW; j++) sum[r][j] = load(sums + (r * TW + j) * W);
  for (int64_t i = 0; i < count; i++, x += x_step, dy += dy_step) {
    const f32v d = load_n(dy, lanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
      for (int j = 0; j < TW; j++) sum[r][j] = fma(load(x + r * line + j * W), d, sum[r][j]);
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 8
    for (int j = 0; j < TW; j++) store(sums + (r * TW + j) * W, sum[r][j]);
}

template <int TW, int R, class T, class N>
void tap_rows(int64_t rows, const float* x, int64_t line, int64_t x_step, const T* dy, int64_t dy_step, int64_t count,
              N lanes, float* sums) {
  for (; rows >= R; rows -= R, x += R * line, sums += R * TW * W)
    tap_sums<TW, R>(x, line, x_step, dy, dy_step, count, lanes, sums);
  if constexpr (R > 1)
    if (rows > 0) tap_rows<TW, R - 1>(rows, x, line, x_step, dy, dy_step, count, lanes, sums);
}

// Sums of the chunks of 512 positions: one filter's worth of vectors for each chunk of each leaf.
inline size_t depthwise_partial_floats(int64_t samples, int64_t positions, int64_t taps, int64_t channels) {
  const int64_t chunks = samples * positions / kChainChunk + samples;  // at most, for any leaves
  return size_t(chunks * taps * ((channels + W - 1) / W * W));
}

// dweight (leaves, C, KH, KW, 1). partial: depthwise_partial_floats.
template <class TX, class TD>
void depthwise_filter_gradient(const Context& ctx, const View& image, const AxisTaps& h, const AxisTaps& w, const View& dy,
                               float* partial, float* dweight) {
  const ChannelVectors vectors{dy.size(3)};
  const int64_t taps = h.taps() * w.taps(), samples = dy.size(0) / ctx.leaves, positions = samples * h.count * w.count;
  const int64_t chunks = (positions + kChainChunk - 1) / kChainChunk, all = ctx.leaves * chunks;
  const int64_t first_w = w.offset.front(), cols = (w.count - 1) * w.step + w.offset.back() - first_w + 1, line = cols * W;
  ctx.parallel(all * vectors.count(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; t++) {
      const int64_t v = t % vectors.count(), chunk = t / vectors.count() % chunks, leaf = t / vectors.count() / chunks;
      const int lanes = vectors.lanes(v);
      float* const sums = partial + t * taps * W;
      std::memset(sums, 0, size_t(taps * W) * sizeof(float));
      const int64_t last = std::min((chunk + 1) * kChainChunk, positions);
      for (int64_t p = chunk * kChainChunk; p < last;) {
        // The chunk's share of one image: rows [h0, h1], the first from column p % w.count on.
        const int64_t image_of = p / (h.count * w.count), past = std::min(last, (image_of + 1) * h.count * w.count);
        const int64_t h0 = p / w.count % h.count, h1 = (past - 1) / w.count % h.count, n = leaf * samples + image_of;
        const int64_t row0 = h0 * h.step + h.offset.front(), rows = (h1 - h0) * h.step + h.offset.back() - h.offset.front() + 1;
        float* const lines = gemm_buffer(size_t(rows * line) * sizeof(float));
        copy_lines<TX>(image, n, row0, rows, first_w, cols, v * W, lanes, lines);
        while (p < past) {
          const int64_t row = p / w.count % h.count, column = p % w.count, count = std::min(past - p, w.count - column);
          const float* x = lines + (row - h0) * h.step * line + column * w.step * W;
          const TD* d = static_cast<const TD*>(dy.data) + n * dy.stride(0) + row * dy.stride(1) + column * dy.stride(2) + v * W;
          with_taps(w.taps(), w.step, [&]<int TW, int Step>(std::integral_constant<int, TW>, std::integral_constant<int, Step>) {
            constexpr int R = kMostSums / TW > 4 ? 4 : kMostSums / TW;
            auto run = [&](auto n_lanes) {
              tap_rows<TW, R>(h.taps(), x, line, Step * W, d, dy.stride(2), count, n_lanes, sums);
            };
            if (lanes == W) run(std::integral_constant<int, W>{});
            else run(lanes);
          });
          p += count;
        }
      }
    }
  });
  // Chunks in ascending order; a filter's taps lie together.
  ctx.parallel(ctx.leaves * vectors.count() * taps, 256, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t tap = i % taps, v = i / taps % vectors.count(), leaf = i / taps / vectors.count();
      f32v total{};
      for (int64_t chunk = 0; chunk < chunks; chunk++) {
        const f32v sum = load(partial + (((leaf * chunks + chunk) * vectors.count() + v) * taps + tap) * W);
        total = chunk ? total + sum : sum;
      }
      for (int l = 0; l < vectors.lanes(v); l++)
        dweight[(leaf * dy.size(3) + v * W + l) * taps + tap] = total[l];
    }
  });
}

}  // namespace dr::DR_ISA
