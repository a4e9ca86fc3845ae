#pragma once
// Convolution that makes few channels, which would leave most lanes of a vector empty: here neighbouring places of a
// row lie along the lanes, and every lane has the chain of its place. Rows of the image are transposed once, into
// planes of one channel each with +0 where padding is; windows of all taps and phases then read vectors of the planes
// where they lie. Last include of a `_cpu.cpp`.

#include "kernels/conv2d/geometry.h"

#include "kernels/core/gemm.h"

namespace dr::DR_ISA {

inline constexpr int kFewOutputs = W / 2;

#if defined(DR_ISA_avx512)
inline constexpr int kFewSums = 24;  // sums, weights and a vector of the plane fit the registers
#else
inline constexpr int kFewSums = 12;
#endif
constexpr int few_vectors(int outputs) { return std::min(8, kFewSums / outputs); }

// Column tap*channels + c of the windows is at taps[tap] + c*plane, its weight for output o at weights[column*O + o].
struct FewWindows {
  const float* const* taps;
  int64_t channels, plane, columns;
  const float* weights;
  const char* ahead;  // memory that is needed soon: so many bytes for each column
  int64_t ahead_step;
};

// The chains of O outputs at V vectors of places from `first` on, at sums[o*sums_step + place].
template <int O, int V>
__attribute__((noinline)) void few_sums(const FewWindows& in, int64_t first, float* sums, int64_t sums_step) {
  const int64_t channels = in.channels, plane = in.plane, columns = in.columns, ahead_step = in.ahead_step;
  const float* weights = in.weights;
  const char* ahead = in.ahead;
  sums += first;
  int64_t column = 0;
  do {
    f32v sum[O][V] = {};
    const int64_t past = std::min(column + kChainChunk, columns);
    for (int64_t next; column < past; column = next) {
      const int64_t tap = column / channels, c = column - tap * channels;
      next = std::min(past, column + channels - c);
      const float* x = in.taps[tap] + first + c * plane;
      for (int64_t n = next - column; n > 0; n--, x += plane, weights += O, ahead += ahead_step) {
        __builtin_prefetch(ahead);
        f32v w[O];
#pragma GCC unroll 8
        for (int o = 0; o < O; o++) w[o] = splat(weights[o]);
#pragma GCC unroll 8
        for (int v = 0; v < V; v++) {
          const f32v xv = load(x + v * W);
#pragma GCC unroll 8
          for (int o = 0; o < O; o++) sum[o][v] = fma(xv, w[o], sum[o][v]);
        }
      }
    }
    const bool add = past > kChainChunk;
#pragma GCC unroll 8
    for (int o = 0; o < O; o++)
#pragma GCC unroll 8
      for (int v = 0; v < V; v++) {
        float* const p = sums + o * sums_step + v * W;
        store(p, add ? load(p) + sum[o][v] : sum[o][v]);
      }
  } while (column < columns);
}

using FewSumsFunction = void (*)(const FewWindows&, int64_t, float*, int64_t);
inline FewSumsFunction few_sums_for(int outputs, int vectors) {
  static constexpr auto table = []<int... I>(std::integer_sequence<int, I...>) {
    return std::array<FewSumsFunction, sizeof...(I)>{
        few_sums<I / 8 + 1, std::min(I % 8 + 1, few_vectors(I / 8 + 1))>...};
  }(std::make_integer_sequence<int, kFewOutputs * 8>{});
  return table[size_t((outputs - 1) * 8 + vectors - 1)];
}

// Writes channels [first, first + count) of `to`, count <= kFewOutputs, at the places of all phases, from channels
// [c0, c0 + channels) of the image. weights: for each phase of h and, in it, of w, (column of the window, output) f32.
template <class T, class Epilogue>
class FewOutputs {
 public:
  FewOutputs(const View& image, int64_t c0, int64_t channels, const Phases& phases, const float* weights,
             const View& to, int64_t first, int64_t count, const Epilogue& epilogue)
      : image_(image), c0_(c0), channels_(channels), phases_(phases), weights_(weights), to_(to), first_(first),
        outputs_(count), step_(phases.w[0].step) {
    int64_t columns = 0;
    for (const AxisTaps& h : phases.h) rows_ = std::max(rows_, h.count);
    for (const AxisTaps& w : phases.w) places_ = std::max(places_, w.count);
    for (const AxisTaps& h : phases.h)
      for (const AxisTaps& w : phases.w) columns += h.taps() * w.taps() * channels;
    // Rows and pixels that a place reads, over all phases.
    int64_t top = INT64_MAX, bottom = INT64_MIN, left = INT64_MAX, right = INT64_MIN;
    for (const AxisTaps& h : phases.h)
      for (int64_t offset : h.offset) top = std::min(top, offset), bottom = std::max(bottom, offset);
    plane_of_.assign(size_t(step_), -1);
    for (const AxisTaps& w : phases.w)
      for (int64_t offset : w.offset) {
        left = std::min(left, floor_divide(offset, step_)), right = std::max(right, floor_divide(offset, step_));
        int64_t& plane = plane_of_[size_t(modulo(offset, step_))];
        if (plane < 0) plane = planes_++;
      }
    if (top <= bottom) ring_ = bottom - top + 1, bottom_ = bottom;
    if (left <= right) left_ = left, right_ = right;
    // A block of places whose lines fit the second-level cache, in whole tiles.
    const int64_t tile = few_vectors(int(count)) * W, line = std::max<int64_t>(1, ring_ * planes_ * channels_);
    const int64_t room = (int64_t{1} << 16) / line - (right_ - left_) - 2 * W;
    block_ = std::min(std::max(room / tile, int64_t{1}) * tile, (places_ + W - 1) / W * W);
    plane_ = (block_ + right_ - left_ + 2 * W) / W * W;
    if (plane_ / W % 2 == 0) plane_ += W;  // a power of two would crowd planes into few sets of the first-level cache
    const int64_t pixels = std::min(block_ * step_, image.size(2));
    ahead_step_ = pixels * image.stride(2) * int64_t(size_of(image.dtype)) /
                  std::max<int64_t>(1, columns * tiles((block_ + W - 1) / W));
    for (int o = 0; o < outputs_; o++) shift_[o] = epilogue(0, 0, splat(-0.f), int(count))[o];  // x + -0 is x
  }

  void operator()(const Context& ctx) const {
    if (to_.count() == 0) return;
    const int64_t blocks = (places_ + block_ - 1) / block_;
    ctx.parallel(to_.size(0) * blocks * rows_, 4, [&](int64_t begin, int64_t end) {
      const int64_t lines = ring_ * planes_ * channels_ * plane_;
      float* const memory = gemm_buffer(size_t(lines + outputs_ * block_) * sizeof(float));
      Strip strip{memory, memory + lines, std::vector<int64_t>(size_t(ring_)), {}};
      for (int64_t i = begin; i < end; i++) {
        const int64_t n = i / (blocks * rows_), b = i / rows_ % blocks, t = i % rows_;
        if (i == begin || t == 0) {
          strip.n = n, strip.place = b * block_;
          std::fill(strip.held.begin(), strip.held.end(), INT64_MIN);
        }
        row(strip, t);
      }
    });
  }

 private:
  static int64_t floor_divide(int64_t a, int64_t b) { return (a - modulo(a, b)) / b; }
  static int64_t modulo(int64_t a, int64_t b) { return (a % b + b) % b; }

  // A block of places down an image, and the lines that it holds: row r of the image in slot r modulo ring_.
  struct Strip {
    float *lines, *sums;
    std::vector<int64_t> held;
    std::vector<const float*> taps;
    int64_t n = 0, place = 0;
    const char* ahead = nullptr;
  };
  // Where planes begin, in pixels of a plane: at a vector of the image's own, so that its left end is one.
  int64_t plane_first(const Strip& s) const { return floor_divide(s.place + left_, W) * W; }

  void row(Strip& s, int64_t t) const {
    const float* weights = weights_;
    // The row below is fetched while this one is computed. Asking past the image's end is harmless.
    const int64_t below = std::clamp<int64_t>((t + 1) * phases_.h[0].step + bottom_, 0, image_.size(1));
    s.ahead = static_cast<const char*>(image_.data) +
              (s.n * image_.stride(0) + below * image_.stride(1) + s.place * step_ * image_.stride(2)) *
                  int64_t(size_of(image_.dtype));
    for (const AxisTaps& h : phases_.h)
      for (const AxisTaps& w : phases_.w) {
        const int64_t columns = h.taps() * w.taps() * channels_, count = std::min(block_, w.count - s.place);
        if (t < h.count && count > 0) {
          s.taps.clear();
          for (int64_t down : h.offset) {
            const float* const x = line(s, t * h.step + down) + s.place - plane_first(s);
            for (int64_t across : w.offset)
              s.taps.push_back(x + plane_of_[size_t(modulo(across, step_))] * channels_ * plane_ +
                               floor_divide(across, step_));
          }
          sums(s, columns, count, weights);
          interleave(s, count,
                     static_cast<T*>(to_.data) + s.n * to_.stride(0) + (h.out_first + t * h.out_step) * to_.stride(1) +
                         (w.out_first + s.place * w.out_step) * to_.stride(2) + first_,
                     w.out_step * to_.stride(2));
        }
        weights += columns * outputs_;
      }
  }

  int64_t tiles(int64_t vectors) const {
    const int64_t most = few_vectors(outputs_);
    return (vectors + most - 1) / most;
  }

  void sums(Strip& s, int64_t columns, int64_t count, const float* weights) const {
    const int64_t vectors = (count + W - 1) / W;
    for (int64_t i = 0; i < tiles(vectors); i++) {
      const int64_t first = i * vectors / tiles(vectors), past = (i + 1) * vectors / tiles(vectors);
      const FewWindows windows{s.taps.data(), channels_, plane_, columns, weights, s.ahead, ahead_step_};
      few_sums_for(outputs_, int(past - first))(windows, first * W, s.sums, block_);
      s.ahead += columns * ahead_step_;
    }
  }

  void interleave(const Strip& s, int64_t count, T* to, int64_t distance) const {
    for (int o = 0; o < outputs_; o++) {
      const float* const sums = s.sums + o * block_;
      for (int64_t i = 0; i < count; i++) store1(to + i * distance + o, sums[i] + shift_[o]);
    }
  }

  // Row r of the image as planes: pixel p is element p / step - plane_first of the plane of p modulo step.
  const float* line(Strip& s, int64_t r) const {
    const size_t slot = size_t(modulo(r, ring_));
    float* const line = s.lines + int64_t(slot) * planes_ * channels_ * plane_;
    if (s.held[slot] == r) return line;
    s.held[slot] = r;
    const bool inside = r >= 0 && r < image_.size(1);
    with_float_type(image_.dtype, [&]<class TX>(TX*) {
      const TX* const pixels =
          static_cast<const TX*>(image_.data) + s.n * image_.stride(0) + (inside ? r : 0) * image_.stride(1) + c0_;
      for (int64_t p = 0; p < step_; p++) {
        if (plane_of_[size_t(p)] < 0) continue;
        float* const out = line + plane_of_[size_t(p)] * channels_ * plane_;
        const int64_t there = inside ? (image_.size(2) - p + step_ - 1) / step_ : 0;
        for (int64_t i = 0; i < plane_; i += W) {
          const int64_t q = plane_first(s) + i, n = q < 0 ? 0 : std::min<int64_t>(W, there - q);
          if (n > 0)
            pack_b_transposed(channels_, n, pixels + (q * step_ + p) * image_.stride(2), step_ * image_.stride(2),
                              out + i, plane_);
          else
            for (int64_t c = 0; c < channels_; c++) store(out + c * plane_ + i, f32v{});
        }
      }
    });
    return line;
  }

  const View& image_;
  const int64_t c0_, channels_;
  const Phases& phases_;
  const float* const weights_;
  const View& to_;
  const int64_t first_;
  const int outputs_;
  const int64_t step_;
  float shift_[kFewOutputs];  // what the epilogue adds
  int64_t rows_ = 0, places_ = 0;
  std::vector<int64_t> plane_of_;  // by pixel modulo the step; -1: no tap reads those
  int64_t planes_ = 0, ring_ = 0, bottom_ = 0, left_ = 0, right_ = 0;
  int64_t block_, plane_;  // places of a block; floats of a plane
  int64_t ahead_step_;     // bytes of the next row for each column of windows
};

}  // namespace dr::DR_ISA
