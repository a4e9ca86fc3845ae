#pragma once
// The patches of an image as an operand of the canonical GEMM: row i is the patch of place i, column (jh,jw,c) the
// channel c of tap (jh,jw), +0 where that lies outside the image. Nothing is stored: gemm packs a block at a time.
// Last include of a `_cpu.cpp`.

#include "kernels/conv2d/geometry.h"

#include "kernels/core/gemm.h"

namespace dr::DR_ISA {

DR_INLINE void fill_zero(float* to, int64_t count) {
  for_vectors(count, [&](int64_t i, auto n) { store_n(to + i, f32v{}, n); });
}
template <class T>
DR_INLINE void copy_widened(const T* from, int64_t count, float* to) {
  for_vectors(count, [&](int64_t i, auto n) { store_n(to + i, load_n(from + i, n), n); });
}

// Places count over (n, t along h, t along w), columns over (taps of h, taps of w, `channels` channels from c0 on).
class Patches {
 public:
  Patches(const View& image, const AxisTaps& h, const AxisTaps& w, int64_t c0, int64_t channels)
      : image_(image), h_(h), w_(w), c0_(c0), channels_(channels) {
    // Taps that lie side by side in the image are copied in one run.
    bool adjacent = channels == image.stride(2);
    for (int64_t j = 1; j < w.taps(); j++) adjacent &= w.offset[size_t(j)] == w.offset[size_t(j - 1)] + 1;
    if (adjacent && w.taps() > 0) run_taps_ = w.taps();
  }

  Patches block(int64_t row, int64_t column) const {
    Patches p = *this;
    p.row_ += row;
    p.column_ += column;
    return p;
  }
  ALayout layout() const { return ALayout::rows; }
  bool in_place() const { return false; }
  void pack_as_a(int64_t m0, int64_t m, int64_t k0, int64_t kc, float* out) const {
    each_patch(m0, m, k0, kc, [&](int64_t i) { return out + i * kChainChunk; }, [](int64_t, const float*) {});
  }
  void pack_as_b(int64_t k0, int64_t kc, int64_t n0, int64_t n, float* out) const {
    alignas(64) float line[kBlockColumns + W];
    const int64_t whole = n / kNR * kNR, left = n - whole;
    const int64_t tail = (left + W - 1) / W * W;
    for (int64_t j = n; j < whole + tail; j++) line[j] = 0;
    each_patch(k0, kc, n0, n, [&](int64_t) { return line; }, [&](int64_t k, const float*) {
      for (int64_t j = 0; j < whole; j += kNR)
        for (int v = 0; v < kNV; v++) store(out + j * kc + k * kNR + v * W, load(line + j + v * W));
      for (int64_t j = 0; j < tail; j += W) store(out + whole * kc + k * tail + j, load(line + whole + j));
    });
  }

 private:
  // Copies columns [first, first + count) of `rows` patches from `row` on: patch i to to(i); then calls done(i, to(i)).
  template <class To, class Done>
  void each_patch(int64_t row, int64_t rows, int64_t first, int64_t count, To&& to, Done&& done) const {
    if (count == 0) return;  // no taps at all
    with_float_type(image_.dtype, [&]<class T>(T*) {
      const int64_t run = run_taps_ * channels_, runs_w = w_.taps() / run_taps_;
      const int64_t begin = column_ + first, end = begin + count, run0 = begin / run;
      const int64_t place = row_ + row, strip = place / w_.count;
      int64_t n = strip / h_.count, th = strip % h_.count, tw = place % w_.count;
      for (int64_t i = 0; i < rows; i++) {
        float* const out = to(i);
        const T* const image = static_cast<const T*>(image_.data) + n * image_.stride(0) + c0_;
        int64_t jh = run0 / runs_w, jw = run0 % runs_w;
        for (int64_t at = run0 * run; at < end; at += run) {
          const int64_t ih = th * h_.step + h_.offset[size_t(jh)];
          const int64_t iw = tw * w_.step + w_.offset[size_t(jw * run_taps_)];
          const int64_t a = std::max(begin, at), b = std::min(end, at + run);
          float* const p = out + (a - begin);
          const T* const from = image + ih * image_.stride(1) + iw * image_.stride(2) - at;
          if (ih < 0 || ih >= image_.size(1)) {
            fill_zero(p, b - a);
          } else if (iw >= 0 && iw + run_taps_ <= image_.size(2)) {
            copy_widened(from + a, b - a, p);
          } else {
            // Columns of the run that lie in the image: none where it is outside altogether.
            const int64_t inside = std::clamp(at - iw * channels_, a, b);
            const int64_t outside = std::clamp(at + (image_.size(2) - iw) * channels_, inside, b);
            fill_zero(p, inside - a);
            copy_widened(from + inside, outside - inside, p + (inside - a));
            fill_zero(p + (outside - a), b - outside);
          }
          if (++jw == runs_w) jw = 0, jh++;
        }
        done(i, out);
        if (++tw == w_.count) {
          tw = 0;
          if (++th == h_.count) th = 0, n++;
        }
      }
    });
  }

  View image_;
  const AxisTaps &h_, &w_;
  int64_t c0_, channels_, run_taps_ = 1;
  int64_t row_ = 0, column_ = 0;
};

// Where the places of h and w lie in a tensor: as rows of C.
struct PlaceRows {
  const View& to;
  const AxisTaps &h, &w;

  int64_t of_block(int64_t) const { return 0; }
  void offsets(int64_t row, int64_t count, int64_t* out) const {
    const int64_t strip = row / w.count;
    int64_t n = strip / h.count, th = strip % h.count, tw = row % w.count;
    for (int64_t i = 0; i < count; i++) {
      out[i] = n * to.stride(0) + (h.out_first + th * h.out_step) * to.stride(1) +
               (w.out_first + tw * w.out_step) * to.stride(2);
      if (++tw == w.count) {
        tw = 0;
        if (++th == h.count) th = 0, n++;
      }
    }
  }
};

}  // namespace dr::DR_ISA
