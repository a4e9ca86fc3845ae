#pragma once
// Convolution with one filter per channel, and its gradients: a vector of channels at a time, so that the chain of each
// channel runs along the taps in its lane. Images are read where they lie. A block of places of a row works on all of
// its windows at once, so that a pixel is loaded once for each row of the window and used by all that hold it; only
// blocks at an image's edge ask of each pixel whether it is there. Last include of a `_cpu.cpp`.

#include "kernels/conv2d/geometry.h"

#include "kernels/core/gemm.h"

namespace dr::DR_ISA {

inline constexpr int kMostTaps = 7;  // along an axis; the taps of a window fit in one chunk of a chain

// The widths of windows that have kernels: the usual ones, and what a stride of two leaves of them for dx.
template <class F>
bool with_taps(int64_t taps, int64_t step, F&& f) {
  auto call = [&]<int TW, int Step>() {
    return f(std::integral_constant<int, TW>{}, std::integral_constant<int, Step>{}), true;
  };
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
         k[1] <= kMostTaps && (k[2] == 3 || k[2] == 5 || k[2] == 7);
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

// Rows of an image, in the order in which a window holds them; pixel i of a row is +0 unless 0 <= i < width.
template <class T>
struct WindowRows {
  const T* pixels[kMostTaps];
  int64_t width[kMostTaps];  // 0: a row outside the image
  int64_t rows, distance;    // distance between pixels
  int64_t step, ahead;       // the windows of the next places hold rows so many further on, so far away

  WindowRows(const View& image, int64_t n, int64_t first, const AxisTaps& taps)
      : rows(taps.taps()), distance(image.stride(2)), step(taps.step), ahead(taps.step * image.stride(1)) {
    for (int64_t r = 0; r < rows; r++) {
      const int64_t h = first + taps.offset[size_t(r)];
      const bool there = h >= 0 && h < image.size(1);
      pixels[r] = static_cast<const T*>(image.data) + n * image.stride(0) + (there ? h : 0) * image.stride(1);
      width[r] = there ? image.size(2) : 0;
    }
  }
  // Whether every row of the image has the pixels [first, past).
  bool hold(int64_t first, int64_t past) const {
    return first >= 0 && std::all_of(width, width + rows, [&](int64_t w) { return w == 0 || past <= w; });
  }
};

// The pixels of row r from `first` on, one after the other: the channels [c, c + lanes) of each.
template <bool Inside, class T>
class PixelWalk {
 public:
  DR_INLINE PixelWalk(const WindowRows<T>& in, int64_t r, int64_t first, int64_t c, int lanes)
      : next_(in.pixels[r] + first * in.distance + c),
        distance_(in.distance),
        ahead_(r + in.step >= in.rows ? in.ahead : 0),
        at_(first),
        width_(in.width[r]),
        lanes_(lanes) {}

  DR_INLINE f32v operator()() {
    f32v x[1];
    vectors(x);
    return x[0];
  }
  template <int V>
  DR_INLINE void vectors(f32v (&x)[V]) {
    const T* const p = next_;
    next_ += distance_;
    asm(""
        : "+r"(next_));  // else the compiler computes the addresses of all pixels first and has no registers for them
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) __builtin_prefetch(p + ahead_ + v * W, 0, 2);  // the first cache waits for few at a time
    const bool there = Inside || uint64_t(at_++) < uint64_t(width_);
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) {
      if constexpr (Inside) x[v] = load(p + v * W);
      else if constexpr (std::is_same_v<T, float>) x[v] = load_n(p, there ? lanes_ : 0);
      else x[v] = there ? load_n(p, lanes_) : f32v{};
    }
  }

 private:
  const T* next_;
  int64_t distance_, ahead_, at_, width_;
  int lanes_;
};

// ---- sums along the window ----

#if defined(DR_ISA_avx512)
inline constexpr int kMostPlaces = 16, kMostVectors = 4;  // sums, a row of filters and pixels fit the registers
#else
inline constexpr int kMostPlaces = 8, kMostVectors = 2;
#endif

// A filter of pack_filters; steps from a tap to the next, in floats.
struct Filter {
  const float* taps;
  int64_t row, column, vector;
};

// Where sums go: place b to y + b*distance, of `lanes` channels; shift is null or the bias.
template <class T>
struct PlaceRow {
  T* y;
  int64_t distance;
  const f32v* shift;  // of each vector
  int lanes;
};

// Chains along the windows of B places, the first of which begins at pixel `first`; V vectors of channels from c on.
// Pixels are taken in ascending order, and each goes to all windows that hold it, to each at its own tap: so taps
// ascend in every window.
template <int TW, int Step, int B, int V, bool Inside, class T>
__attribute__((noinline)) void window_sums(const WindowRows<T>& in, int64_t first, int64_t c, const Filter& filter,
                                           const PlaceRow<T>& out) {
  f32v sum[B][V] = {};
#pragma GCC unroll 16
  for (int b = 0; b < B; b++)
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) __builtin_prefetch(out.y + b * out.distance + v * W, 1);
  const float* taps = filter.taps;
  for (int64_t r = 0; r < in.rows; r++, taps += filter.row) {
    f32v w[TW][V];
#pragma GCC unroll 8
    for (int j = 0; j < TW; j++)
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) w[j][v] = load(taps + j * filter.column + v * filter.vector);
    if (in.width[r] == 0) {  // Terms +0 w: to any sum they add what they come to from -0, one zero or NaN.
      f32v zero[V];
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) {
        zero[v] = splat(-0.f);
#pragma GCC unroll 8
        for (int j = 0; j < TW; j++) zero[v] = fma(f32v{}, w[j][v], zero[v]);
      }
#pragma GCC unroll 16
      for (int b = 0; b < B; b++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) sum[b][v] += zero[v];
      continue;
    }
    PixelWalk<Inside, T> next(in, r, first, c, out.lanes);
#pragma GCC unroll 64
    for (int i = 0; i < (B - 1) * Step + TW; i++) {
      f32v x[V];
      next.vectors(x);
#pragma GCC unroll 16
      for (int b = 0; b < B; b++)
        if (i >= b * Step && i < b * Step + TW)
#pragma GCC unroll 4
          for (int v = 0; v < V; v++) sum[b][v] = fma(x[v], w[i - b * Step][v], sum[b][v]);
    }
  }
#pragma GCC unroll 16
  for (int b = 0; b < B; b++)
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) {
      const f32v y = out.shift ? sum[b][v] + out.shift[v] : sum[b][v];
      if constexpr (Inside) store(out.y + b * out.distance + v * W, y);
      else store_n(out.y + b * out.distance, y, out.lanes);
    }
}

// to = chains of all places + bias. filters: of pack_filters.
template <class T, class Bias>
class DepthwiseSums {
 public:
  DepthwiseSums(const View& image, const Phases& phases, const float* filters, int64_t kh, int64_t kw,
                const View& to, const Bias* bias)
      : image_(image), phases_(phases), filters_(filters), kh_(kh), kw_(kw), to_(to), bias_(bias) {}

  void operator()(const Context& ctx) const {
    if (to_.count() == 0) return;
    int64_t rows = 0;
    for (const AxisTaps& h : phases_.h) rows = std::max(rows, h.count);
    ctx.parallel(to_.size(0) * rows, 16, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; t++)
        for (const AxisTaps& h : phases_.h)
          if (t % rows < h.count) row(h, t / rows, t % rows);
    });
  }

 private:
  // Blocks of the phases in turn, so that the row is written from one end to the other.
  void row(const AxisTaps& h, int64_t n, int64_t i) const {
    const WindowRows<T> window(image_, n, i * h.step, h), nothing(image_, n, 0, AxisTaps{});
    T* const y = static_cast<T*>(to_.data) + n * to_.stride(0) + (h.out_first + i * h.out_step) * to_.stride(1);
    const float* const filters = filters_ + (h.taps() ? h.kernel[0] * kw_ * W : 0);
    const int64_t filter_row = h.taps() > 1 ? (h.kernel[1] - h.kernel[0]) * kw_ * W : 0;
    for (int64_t t = 0; t < phases_.w[0].count; t += kMostPlaces)  // no phase has more places than the first
      for (const AxisTaps& w : phases_.w) {
        const bool none = h.taps() == 0 || w.taps() == 0;
        const Row r{none ? nothing : window, w, filters, filter_row, y};
        with_taps(none ? 1 : w.taps(), none ? 1 : w.step,
                  [&]<int TW, int Step>(std::integral_constant<int, TW>, std::integral_constant<int, Step>) {
                    places<TW, Step, kMostPlaces>(r, t);
                  });
      }
  }
  struct Row {
    const WindowRows<T>& window;
    const AxisTaps& w;
    const float* filters;
    int64_t filter_row;
    T* y;
  };

  // The places from t on, at most B. A block that the row does not fill begins before t, where there are places.
  template <int TW, int Step, int B>
  void places(const Row& r, int64_t t) const {
    const int64_t left = r.w.count - t;
    if (left >= B) return block<TW, Step, B>(r, t);
    if constexpr (B > 1) {
      if (t > 0 && left > B / 2) return block<TW, Step, B>(r, r.w.count - B);
      for (; t < r.w.count; t += B / 2) places<TW, Step, B / 2>(r, t);
    }
  }

  template <int TW, int Step, int B>
  void block(const Row& r, int64_t t) const {
    const ChannelVectors vectors{to_.size(3)};
    const WindowRows<T>& in = r.window;
    const int64_t first = t * Step + (in.rows ? r.w.offset[0] : 0);
    const bool inside = B == kMostPlaces && in.rows && in.hold(first, first + (B - 1) * Step + TW);
    Filter filter{r.filters, r.filter_row, r.w.taps() > 1 ? (r.w.kernel[1] - r.w.kernel[0]) * W : 0, kh_ * kw_ * W};
    if (in.rows) filter.taps += r.w.kernel[0] * W;
    T* const y = r.y + (r.w.out_first + t * r.w.out_step) * to_.stride(2);
    const int64_t distance = r.w.out_step * to_.stride(2);
    for (int64_t v = 0; v < vectors.count();) {
      // Where a pixel takes part in one sum or two, a few vectors at a time: the lines of a pixel are read one after the
      // other, which memory is fast at.
      constexpr int V = TW < 3 || (TW == 3 && Step == 2) ? kMostVectors : 1, P = B / V;
      const int lanes = vectors.lanes(v);
      f32v shift[V] = {};
      if (bias_)
        for (int i = 0; i < V && v + i < vectors.count(); i++)
          shift[i] = load_n(bias_ + (v + i) * W, vectors.lanes(v + i));
      const PlaceRow<T> out{y + v * W, distance, bias_ ? shift : nullptr, lanes};
      const bool whole = inside && vectors.channels - v * W >= V * W;
      if constexpr (B == kMostPlaces) {
        if (whole)
          for (int i = 0; i < V; i++) {
            PlaceRow<T> part = out;
            part.y += i * P * distance;
            window_sums<TW, Step, P, V, true>(in, first + i * P * Step, v * W, filter, part);
          }
      }
      if (!whole) window_sums<TW, Step, B, 1, false>(in, first, v * W, filter, out);
      const int64_t done = whole ? V : 1;
      v += done, filter.taps += done * filter.vector;
    }
  }

  const View& image_;
  const Phases& phases_;
  const float* filters_;
  int64_t kh_, kw_;
  const View& to_;
  const Bias* bias_;
};

// ---- sums along the positions: the gradient of the filters ----

#if defined(DR_ISA_avx512)
inline constexpr int kMostSums = 25,
                     kPositions = 4;  // sums of a few rows of taps, gradients of a few positions, a pixel
#else
inline constexpr int kMostSums = 10, kPositions = 2;
#endif

// sums[r - row][j] += chain along P positions of dy * (the pixel under tap (r, j)), for R rows of TW taps from `row`
// on.
template <int TW, int Step, int R, int P, bool Inside, class T>
DR_INLINE void add_positions(const WindowRows<T>& in, int64_t row, int64_t first, int64_t c, const T* dy,
                             int64_t dy_distance, int lanes, f32v (&sum)[R][TW]) {
  f32v d[P];
#pragma GCC unroll 4
  for (int i = 0; i < P; i++) d[i] = Inside ? load(dy + i * dy_distance) : load_n(dy + i * dy_distance, lanes);
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
    PixelWalk<Inside, T> next(in, row + r, first, c, lanes);
#pragma GCC unroll 32
    for (int i = 0; i < (P - 1) * Step + TW; i++) {
      const f32v x = next();
#pragma GCC unroll 4
      for (int b = 0; b < P; b++)
        if (i >= b * Step && i < b * Step + TW) sum[r][i - b * Step] = fma(x, d[b], sum[r][i - b * Step]);
    }
  }
}

// The same along the places [t, past) of a row; dy at place t.
template <int TW, int Step, int R, class T>
__attribute__((noinline)) void tap_sums(const WindowRows<T>& in, int64_t row, int64_t offset, int64_t c, int64_t t,
                                        int64_t past, const T* dy, int64_t dy_distance, int lanes, float* sums) {
  f32v sum[R][TW];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 8
    for (int j = 0; j < TW; j++) sum[r][j] = load(sums + (r * TW + j) * W);
  int64_t width = INT64_MAX;
  for (int r = 0; r < R; r++) width = std::min(width, in.width[row + r]);
  auto inside = [&](int64_t places) {
    return lanes == W && t + places <= past && t * Step + offset >= 0 && (t + places - 1) * Step + offset + TW <= width;
  };
  while (t < past) {
    const int64_t first = t * Step + offset;
    const int64_t done = inside(kPositions) ? kPositions : 1;
    if (done == kPositions)
      add_positions<TW, Step, R, kPositions, true>(in, row, first, c, dy, dy_distance, lanes, sum);
    else add_positions<TW, Step, R, 1, false>(in, row, first, c, dy, dy_distance, lanes, sum);
    t += done, dy += done * dy_distance;
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 8
    for (int j = 0; j < TW; j++) store(sums + (r * TW + j) * W, sum[r][j]);
}

template <int TW, int Step, int R, class T>
void tap_rows(const WindowRows<T>& in, int64_t row, int64_t offset, int64_t c, int64_t t, int64_t past, const T* dy,
              int64_t dy_distance, int lanes, float* sums) {
  for (; row + R <= in.rows; row += R)
    tap_sums<TW, Step, R>(in, row, offset, c, t, past, dy, dy_distance, lanes, sums + row * TW * W);
  if constexpr (R > 1)
    if (row < in.rows) tap_rows<TW, Step, R - 1>(in, row, offset, c, t, past, dy, dy_distance, lanes, sums);
}

inline constexpr int64_t kVectorGroup = 4;  // that share the lines of a row while they are in the first cache

// Sums of the chunks of 512 positions: for each chunk of each leaf one filter's worth of vectors, and one for the bias.
inline size_t depthwise_partial_floats(int64_t samples, int64_t positions, int64_t taps, int64_t channels) {
  const int64_t chunks = samples * positions / kChainChunk + samples;  // at most, for any leaves
  return size_t(chunks * (taps + 1) * ((channels + W - 1) / W * W));
}

// dweight (leaves, C, KH, KW, 1), and dbias (leaves, C) where it is not null. partial: depthwise_partial_floats.
template <class T>
void depthwise_filter_gradient(const Context& ctx, const View& image, const AxisTaps& h, const AxisTaps& w,
                               const View& dy, float* partial, float* dweight, float* dbias) {
  const ChannelVectors vectors{dy.size(3)};
  const int64_t taps = h.taps() * w.taps(), sums_of_vector = taps + 1;
  const int64_t samples = dy.size(0) / ctx.leaves, positions = samples * h.count * w.count;
  const int64_t chunks = (positions + kChainChunk - 1) / kChainChunk;
  const int64_t groups = (vectors.count() + kVectorGroup - 1) / kVectorGroup;
  ctx.parallel(ctx.leaves * chunks * groups, 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; t++) {
      const int64_t chunk = t / groups % chunks, leaf = t / groups / chunks;
      const int64_t v0 = t % groups * kVectorGroup, v1 = std::min(v0 + kVectorGroup, vectors.count());
      float* const sums = partial + t / groups * vectors.count() * sums_of_vector * W;
      std::memset(sums + v0 * sums_of_vector * W, 0, size_t((v1 - v0) * sums_of_vector * W) * sizeof(float));
      const int64_t last = std::min((chunk + 1) * kChainChunk, positions);
      for (int64_t p = chunk * kChainChunk; p < last;) {
        const int64_t n = leaf * samples + p / (h.count * w.count), row = p / w.count % h.count, column = p % w.count;
        const int64_t past = std::min(last - p + column, w.count);
        const WindowRows<T> in(image, n, row * h.step, h);
        const T* d = static_cast<const T*>(dy.data) + n * dy.stride(0) + row * dy.stride(1) + column * dy.stride(2);
        with_taps(w.taps(), w.step,
                  [&]<int TW, int Step>(std::integral_constant<int, TW>, std::integral_constant<int, Step>) {
                    constexpr int R = std::clamp(kMostSums / TW, 1, 5);
                    for (int64_t v = v0; v < v1; v++) {
                      float* const of_vector = sums + v * sums_of_vector * W;
                      const int lanes = vectors.lanes(v);
                      if (dbias) {
                        f32v sum = load(of_vector + taps * W);
                        for (int64_t i = 0; i < past - column; i++) sum += load_n(d + v * W + i * dy.stride(2), lanes);
                        store(of_vector + taps * W, sum);
                      }
                      tap_rows<TW, Step, R>(in, 0, w.offset[0], v * W, column, past, d + v * W, dy.stride(2), lanes,
                                            of_vector);
                    }
                  });
        p += past - column;
      }
    }
  });
  // Chunks in ascending order; a filter's taps lie together.
  ctx.parallel(ctx.leaves * vectors.count() * sums_of_vector, 256, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t tap = i % sums_of_vector, v = i / sums_of_vector % vectors.count();
      const int64_t leaf = i / sums_of_vector / vectors.count();
      if (tap == taps && !dbias) continue;
      f32v total{};
      for (int64_t chunk = 0; chunk < chunks; chunk++) {
        const f32v sum = load(partial + (((leaf * chunks + chunk) * vectors.count() + v) * sums_of_vector + tap) * W);
        total = chunk ? total + sum : sum;
      }
      for (int l = 0; l < vectors.lanes(v); l++) {
        const int64_t channel = leaf * dy.size(3) + v * W + l;
        (tap < taps ? dweight[channel * taps + tap] : dbias[channel]) = total[l];
      }
    }
  });
}

}  // namespace dr::DR_ISA
