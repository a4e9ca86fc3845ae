#pragma once
// Convolution in many groups of few channels each, down to one filter a channel, and its gradients on a device. A tile
// of a GEMM would be nearly empty, so a thread takes the chains of one channel by itself, with neighbouring channels
// beside it. Last include of a `.cu`, as gpu.h.

#include "kernels/conv2d/gpu_windows.h"

#include "kernels/core/gpu_gemm.h"

namespace dr::DR_BACKEND {

// n: what a group makes, of outputs, or for dx of inputs.
inline bool is_thin(int64_t groups, int64_t n) { return groups > 1 && n < Conv2d::kThin; }

// ---- sums along windows: y, and dx ----

// The weights in f32 as (tap, i, c), where c counts the channels of the result, of all groups, and i those of a group
// that each is made from.
struct PackedFilters {
  const float* data;
  int64_t inner, channels;  // sizes of i and c
};
struct PackFilter {
  Operand weight;  // (O, taps I)
  int64_t taps, inputs, outputs, channels;  // inputs I and outputs of a group
  bool back;
  float* to;
  DR_DEVICE void operator()(int64_t i) const {
    const int64_t inner = back ? outputs : inputs;
    const int64_t c = i % channels, j = i / channels % inner, tap = i / channels / inner;
    const int64_t o = back ? c / inputs * outputs + j : c, input = back ? c % inputs : j;
    to[i] = weight(0, o, tap * inputs + input);
  }
};
// `back`: for dx.
inline PackedFilters pack_filters(const Context& ctx, const View& weight, int64_t groups, bool back) {
  const int64_t taps = weight.size(1) * weight.size(2), inputs = weight.size(3), outputs = weight.size(0) / groups;
  const PackedFilters packed{ctx.scratch_as<float>(size_t(weight.count())), back ? outputs : inputs,
                             back ? inputs * groups : weight.size(0)};
  for_each(ctx, weight.count(),
           PackFilter{{weight.data, weight.dtype == DType::bf16, false, taps * inputs, {}}, taps, inputs, outputs,
                      packed.channels, back, ctx.scratch_as<float>(size_t(weight.count()))});
  return packed;
}

// One channel of kPlaces places side by side, which share what is read of a filter.
template <class T>
struct WindowSums {
  static constexpr int kPlaces = 4, kChunk = int(RowGroups::kChunk);
  Windows windows;
  Divisor channels, outputs, blocks_w;  // outputs: of a group
  PackedFilters filters;
  int kernel_width;
  StoreMatrix to;
  int64_t stride_n, stride_h, stride_w;

  DR_DEVICE void operator()(int64_t thread) const {
    const auto [block, c] = channels(uint32_t(thread));
    const auto [row, block_w] = blocks_w(block);
    const auto [n, place_h] = windows.places_h(row);
    const int first = int(block_w) * kPlaces, inner = int(filters.inner);
    const int64_t channel0 = int64_t(outputs(c).quotient) * inner;
    const T* const image = static_cast<const T*>(windows.data) + n * windows.stride_n + channel0;
    const AxisWalk &h = windows.h, &w = windows.w;

    float total[kPlaces], sum[kPlaces] = {};
    DR_UNROLL
    for (int b = 0; b < kPlaces; b++) total[b] = h.taps * w.taps * inner > 0 ? -0.f : 0.f;
    const auto end_chunk = [&] {
      DR_UNROLL
      for (int b = 0; b < kPlaces; b++) total[b] = total[b] + sum[b], sum[b] = 0;
    };
    int terms = 0;
    for (int jh = 0; jh < h.taps; jh++) {
      const int y = h.at(int(place_h), jh);
      const T* const line = unsigned(y) < unsigned(windows.height) ? image + y * windows.stride_h : nullptr;
      for (int jw = 0; jw < w.taps; jw++) {
        const float* filter =
            filters.data + (h.kernel_at(jh) * kernel_width + w.kernel_at(jw)) * int64_t(inner) * filters.channels + c;
        const T* pixel[kPlaces];
        DR_UNROLL
        for (int b = 0; b < kPlaces; b++) {
          const int x = w.at(first + b, jw);
          pixel[b] = line && unsigned(x) < unsigned(windows.width) ? line + x * windows.stride_w : nullptr;
        }
        for (int i = 0; i < inner; i++, filter += filters.channels) {
          DR_UNROLL
          for (int b = 0; b < kPlaces; b++) sum[b] = fma(pixel[b] ? load1(pixel[b] + i) : 0.f, *filter, sum[b]);
          if (++terms % kChunk == 0) end_chunk();
        }
      }
    }
    if (terms % kChunk != 0) end_chunk();
    const int64_t at = n * stride_n + h.out(int(place_h)) * stride_h;
    DR_UNROLL
    for (int b = 0; b < kPlaces; b++)
      if (first + b < w.count) to({at + w.out(first + b) * stride_w, 0}, 0, c, total[b]);
  }
};

inline void window_sums(const Context& ctx, const View& image, const Phases& phases, const PackedFilters& filters,
                        int64_t kernel_width, const View& bias, const View& to) {
  if (to.count() == 0) return;
  const int64_t groups = image.size(3) / filters.inner;
  StoreMatrix store{to.data, to.dtype == DType::bf16, 0, {}};
  store.bias = bias.data, store.bias_is_bf16 = bias.dtype == DType::bf16;
  with_float_type(to.dtype, [&]<class T>(T*) {
    using Sums = WindowSums<T>;
    for (const AxisTaps& h : phases.h)
      for (const AxisTaps& w : phases.w) {
        const int64_t blocks_w = (w.count + Sums::kPlaces - 1) / Sums::kPlaces;
        const int64_t threads = to.size(0) * h.count * blocks_w * filters.channels;
        CHECK(threads <= INT32_MAX, "conv2d: {} channels of blocks of places; accepted: up to {}", threads, INT32_MAX);
        for_each(ctx, threads,
                 Sums{Windows(image, h, w, filters.inner), Divisor(filters.channels),
                      Divisor(filters.channels / groups), Divisor(blocks_w), filters,
                      int(kernel_width), store, to.stride(0), to.stride(1), to.stride(2)});
      }
  });
}

// ---- sums along positions: dweight ----

// Sums of the chunks of 512 positions of each leaf, (leaf, chunk, column of the patch, o), one a thread.
template <class T>
struct FilterChunk {
  Windows windows;
  Divisor outputs, columns, chunks, group_outputs;  // all outputs; those of a group
  int leaf_places;
  const T* dy;
  int64_t pixel;  // of dy
  float* sums;

  DR_DEVICE void operator()(int64_t thread) const {
    const auto [column_row, o] = outputs(uint32_t(thread));
    const auto [chunk_row, column] = columns(column_row);
    const auto [leaf, chunk] = chunks(chunk_row);
    constexpr int kChunk = int(RowGroups::kChunk);
    const int begin = int(chunk) * kChunk, end = begin + kChunk < leaf_places ? begin + kChunk : leaf_places;
    const Windows::Tap tap = windows.tap(column);
    const int64_t channel = int64_t(group_outputs(o).quotient) * windows.channels.d + tap.c;
    Windows::Place p = windows.place(leaf * uint32_t(leaf_places) + uint32_t(begin));
    const T* d = dy + (int64_t(leaf) * leaf_places + begin) * pixel + o;
    const T* const image = static_cast<const T*>(windows.data) + channel;
    float sum = 0;
    for (int i = begin; i < end; i++, d += pixel) {
      const int y = windows.h.at(p.h, tap.h), x = windows.w.at(p.w, tap.w);
      const bool inside = unsigned(y) < unsigned(windows.height) && unsigned(x) < unsigned(windows.width);
      const T* const pixel = image + p.n * windows.stride_n + y * windows.stride_h + x * windows.stride_w;
      const float v = inside ? load1(pixel) : 0.f;
      sum = fma(v, load1(d), sum);
      if (++p.w == windows.w.count) {
        p.w = 0;
        if (++p.h == windows.h.count) p.h = 0, p.n++;
      }
    }
    sums[thread] = sum;
  }
};
struct AddFilterChunks {
  const float* sums;
  int64_t chunks, outputs, columns;
  float* dweight;
  int64_t leaf_stride;
  DR_DEVICE void operator()(int64_t i) const {
    const int64_t o = i % outputs, column = i / outputs % columns, leaf = i / outputs / columns;
    const int64_t filters = outputs * columns;
    const float* const first = sums + leaf * chunks * filters + column * outputs + o;
    float total = chunks > 0 ? first[0] : 0;
    for (int64_t chunk = 1; chunk < chunks; chunk++) total = total + first[chunk * filters];
    dweight[leaf * leaf_stride + o * columns + column] = total;
  }
};

// dweight (leaves,O,KH,KW,I), packed but for its leaves.
inline void filter_sums(const Context& ctx, const View& image, const AxisTaps& h, const AxisTaps& w, int64_t groups,
                        const View& dy, int64_t pixel, const View& dweight) {
  const int64_t leaves = dweight.size(0), outputs = dweight.size(1), channels = dweight.size(4);
  const int64_t columns = h.taps() * w.taps() * channels, places = image.size(0) * h.count * w.count / leaves;
  const int64_t chunks = (places + RowGroups::kChunk - 1) / RowGroups::kChunk;
  const int64_t threads = leaves * chunks * columns * outputs;
  CHECK(threads <= INT32_MAX, "conv2d: {} sums of positions; accepted: up to {}", threads, INT32_MAX);
  float* const sums = ctx.scratch_as<float>(size_t(threads));
  if (threads > 0)
    with_float_type(image.dtype, [&]<class T>(T*) {
      for_each(ctx, threads,
               FilterChunk<T>{Windows(image, h, w, channels), Divisor(outputs), Divisor(columns), Divisor(chunks),
                              Divisor(outputs / groups), int(places), static_cast<const T*>(dy.data), pixel, sums});
    });
  for_each(ctx, leaves * outputs * columns,
           AddFilterChunks{sums, chunks, outputs, columns, static_cast<float*>(dweight.data), dweight.stride(0)});
}

}  // namespace dr::DR_BACKEND
