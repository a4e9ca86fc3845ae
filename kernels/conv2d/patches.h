#pragma once
// The patches of an image as an operand of the canonical GEMM: row i is the patch of place i, column (jh,jw,c) the
// channel c of tap (jh,jw), +0 where that lies outside the image. Nothing is stored: gemm packs a block at a time.
// Last include of a `_cpu.cpp`.

#include "kernels/conv2d/geometry.h"

#include "kernels/core/gemm.h"

namespace dr::DR_ISA {

// to[r*to_step + i] = from[r*from_step + i] for i < count; +0 where from is null.
template <class T>
DR_INLINE void copy_rows(int64_t rows, int64_t count, const T* from, int64_t from_step, float* to, int64_t to_step) {
  for (int64_t r = 0; r < rows; r++, to += to_step) {
    if (from) for_vectors(count, [&](int64_t i, auto n) { store_n(to + i, load_n(from + r * from_step + i, n), n); });
    else for_vectors(count, [&](int64_t i, auto n) { store_n(to + i, f32v{}, n); });
  }
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
    const int64_t stride = packed_a_stride(kc);
    each_run(m0, m, k0, kc, [&](int64_t i, int64_t column, int64_t count, auto&& copy) {
      copy(0, count, out + i * stride + column, stride);
    });
  }
  void pack_as_b(int64_t k0, int64_t kc, int64_t n0, int64_t n, float* out) const {
    const int64_t last = (n - 1) / kNR * kNR, tail = panel_vectors(n, last) * W;
    if (n < last + tail)
      for (int64_t k = 0; k < kc; k++) store(out + last * kc + (k + 1) * tail - W, f32v{});
    each_run(k0, kc, n0, n, [&](int64_t k, int64_t column, int64_t count, auto&& copy) {
      for (int64_t j = column; j < column + count;) {  // piece by piece of a panel
        const int64_t panel = j / kNR * kNR, piece = std::min(panel + kNR, column + count) - j;
        const int64_t width = panel == last ? tail : kNR;
        copy(j - column, piece, out + panel * kc + k * width + (j - panel), width);
        j += piece;
      }
    });
  }

 private:
  // Cuts columns [first, first + count) of `rows` patches from `row` on into blocks: neighbours along w, one run each.
  // f(i, column, n, copy): from patch i on, columns [column, column + n), both counted from the first. copy(j, c, to,
  // step) copies c of a block's columns from its j-th on; its patches go `step` apart.
  template <class F>
  void each_run(int64_t row, int64_t rows, int64_t first, int64_t count, F&& f) const {
    if (count == 0) return;  // no taps at all
    with_float_type(image_.dtype, [&]<class T>(T*) {
      const int64_t run = run_taps_ * channels_, runs_w = w_.taps() / run_taps_;
      const int64_t begin = column_ + first, end = begin + count, run0 = begin / run;
      const int64_t place = row_ + row, strip = place / w_.count, pixel = image_.stride(2);
      int64_t n = strip / h_.count, th = strip % h_.count, tw = place % w_.count;
      for (int64_t i = 0; i < rows;) {
        const int64_t m = std::min(rows - i, w_.count - tw);
        int64_t jh = run0 / runs_w, jw = run0 % runs_w;
        for (int64_t at = run0 * run; at < end; at += run) {
          const int64_t a = std::max(begin, at), b = std::min(end, at + run);
          const int64_t ih = th * h_.step + h_.offset[size_t(jh)], ow = w_.offset[size_t(jw * run_taps_)];
          const T* const line = static_cast<const T*>(image_.data) + n * image_.stride(0) + ih * image_.stride(1) + c0_;
          f(i, a - begin, b - a, [&](int64_t j, int64_t c, float* to, int64_t step) {
            if (ih < 0 || ih >= image_.size(1)) return copy_rows<T>(m, c, nullptr, 0, to, step);
            const int64_t e = a - at + j;  // the first element of the run
            // Places [low, high) have the whole run inside the image.
            const int64_t low = std::clamp((w_.step - 1 - ow) / w_.step, tw, tw + m);
            const int64_t fits = image_.size(2) - run_taps_ - ow;
            const int64_t high = fits < 0 ? low : std::clamp(fits / w_.step + 1, low, tw + m);
            auto edge = [&](int64_t t) {
              const int64_t iw = t * w_.step + ow;
              const int64_t x = std::clamp(-iw * channels_ - e, int64_t{0}, c);
              const int64_t y = std::clamp((image_.size(2) - iw) * channels_ - e, x, c);
              float* const p = to + (t - tw) * step;
              copy_rows<T>(1, x, nullptr, 0, p, 0);
              copy_rows<T>(1, y - x, line + iw * pixel + e + x, 0, p + x, 0);
              copy_rows<T>(1, c - y, nullptr, 0, p + y, 0);
            };
            for (int64_t t = tw; t < low; t++) edge(t);
            copy_rows<T>(high - low, c, line + (low * w_.step + ow) * pixel + e, w_.step * pixel, to + (low - tw) * step,
                         step);
            for (int64_t t = high; t < tw + m; t++) edge(t);
          });
          if (++jw == runs_w) jw = 0, jh++;
        }
        i += m;
        tw = 0;
        if (++th == h_.count) th = 0, n++;
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
