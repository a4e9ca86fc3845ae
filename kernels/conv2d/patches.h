#pragma once
// The patches of an image as an operand of the canonical GEMM: row i is the patch of place i, column (jh,jw,c) the
// channel c of tap (jh,jw), +0 where that lies outside the image. Nothing is stored: gemm packs a block at a time.
// Last include of a `_cpu.cpp`.

#include "kernels/conv2d/geometry.h"

#include "kernels/core/gemm.h"

namespace dr::DR_ISA {

// to[r*to_step + i] = from[r*from_step + i] for i < count; +0 where from is null. Stores whole vectors: up to W - 1
// floats past the end of each row are overwritten.
template <class T>
DR_INLINE void copy_rows(int64_t rows, int64_t count, const T* from, int64_t from_step, float* to, int64_t to_step) {
  if (count <= 0) return;
  if (!from) {
    for (int64_t r = 0; r < rows; r++)
      for (int64_t i = 0; i < count; i += W) store(to + r * to_step + i, f32v{});
  } else if (count <= W) {
    for (int64_t r = 0; r < rows; r++) store(to + r * to_step, load_n(from + r * from_step, int(count)));
  } else {
    for (int64_t r = 0; r < rows; r++)
      for_vectors(count, [&](int64_t i, auto n) { store(to + r * to_step + i, load_n(from + r * from_step + i, n)); });
  }
}

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

  int64_t rows() const { return image_.size(0) * h_.count * w_.count; }
  int64_t columns() const { return h_.taps() * w_.taps() * channels_; }

  // Whether the places are those of every pixel of `to`, in order; if not, where they are.
  bool fill(const View& to) const {
    return h_.out_step == 1 && w_.out_step == 1 && to.stride(1) == w_.count * to.stride(2) &&
           to.stride(0) == h_.count * to.stride(1);
  }
  PlaceRows rows_in(const View& to) const { return {to, h_, w_}; }

  // 1x1 windows, all inside an image whose pixels are evenly spaced: the image itself is the matrix.
  bool is_matrix() const {
    auto identity = [](const AxisTaps& a, int64_t size) {
      return a.taps() == 1 && a.offset[0] == 0 && a.step == 1 && a.count == size;
    };
    return identity(h_, image_.size(1)) && identity(w_, image_.size(2)) &&
           image_.stride(1) == image_.size(2) * image_.stride(2) &&
           image_.stride(0) == image_.size(1) * image_.stride(1);
  }
  Operand matrix() const {
    return {static_cast<const char*>(image_.data) + c0_ * int64_t(size_of(image_.dtype)), image_.dtype,
            image_.stride(2), false};
  }

  // What gemm asks of an operand.
  Patches block(int64_t row, int64_t column) const {
    Patches p = *this;
    p.row_ += row;
    p.column_ += column;
    return p;
  }
  ALayout layout() const { return ALayout::rows; }
  bool in_place() const { return false; }
  void pack_as_a(int64_t m0, int64_t m, int64_t k0, int64_t kc, float* out) const {
    copy_patches(m0, m, k0, kc, out, packed_a_stride(kc));
  }
  void pack_as_b(int64_t k0, int64_t kc, int64_t n0, int64_t n, float* out) const {
    const int64_t whole = n / kNR * kNR, tail = (n - whole + W - 1) / W * W;
    auto width = [&](int64_t j) { return j < whole ? kNR : tail; };
    if (channels_ % W == 0) {  // no vector belongs to two taps
      each_run(k0, kc, n0, n, [&](int64_t k, int64_t column, int64_t count, auto&& copy) {
        for (int64_t j = column, next; j < column + count; j = next) {  // piece by piece of a panel
          const int64_t panel = j / kNR * kNR;
          next = std::min(panel + kNR, column + count);
          copy(j - column, next - j, out + panel * kc + k * width(j) + (j - panel), width(j));
        }
      });
      return;
    }
    // A few patches as rows, in the nearest cache; then row by row into the panels.
    constexpr int64_t kRoom = 16 << 8;
    static_assert(kRoom >= packed_a_stride(kBlockColumns));
    alignas(64) float rows[kRoom];
    const int64_t stride = packed_a_stride(n), most = kRoom / stride;
    for (int64_t k = 0; k < kc; k += most) {
      const int64_t count = std::min(most, kc - k);
      copy_patches(k0 + k, count, n0, n, rows, stride);
      for (int64_t r = 0; r < count; r++) {
        float* const row = rows + r * stride;
        for (int64_t j = n; j < whole + tail; j++) row[j] = 0;
        for (int64_t j = 0; j < whole + tail; j += W) {
          const int64_t panel = j / kNR * kNR;
          store(out + panel * kc + (k + r) * width(j) + (j - panel), load(row + j));
        }
      }
    }
  }

 private:
  // Columns [first, first + count) of `rows` patches from `row` on, `stride` floats apart; up to W - 1 floats past the
  // end of each are overwritten.
  void copy_patches(int64_t row, int64_t rows, int64_t first, int64_t count, float* out, int64_t stride) const {
    each_run(row, rows, first, count, [&](int64_t i, int64_t column, int64_t n, auto&& copy) {
      copy(0, n, out + i * stride + column, stride);
    });
  }

  // Cuts columns [first, first + count) of `rows` patches from `row` on into blocks: neighbours along w, one run each,
  // in ascending order of columns. f(i, column, n, copy): from patch i on, columns [column, column + n), both counted
  // from the first. copy(j, c, to, stride) copies c of a block's columns from its j-th on, as copy_rows does.
  template <class F>
  void each_run(int64_t row, int64_t rows, int64_t first, int64_t count, F&& f) const {
    if (count == 0) return;  // no taps at all
    with_float_type(image_.dtype, [&]<class T>(T*) {
      const int64_t run = run_taps_ * channels_, runs_w = w_.taps() / run_taps_;
      const int64_t begin = column_ + first, end = begin + count, run0 = begin / run;
      const int64_t place = row_ + row, strip = place / w_.count;
      int64_t n = strip / h_.count, th = strip % h_.count, tw = place % w_.count;
      for (int64_t i = 0; i < rows;) {
        const int64_t m = std::min(rows - i, w_.count - tw);
        int64_t jh = run0 / runs_w, jw = run0 % runs_w;
        for (int64_t at = run0 * run; at < end; at += run) {
          const int64_t a = std::max(begin, at), b = std::min(end, at + run);
          const int64_t ih = th * h_.step + h_.offset[size_t(jh)], ow = w_.offset[size_t(jw * run_taps_)];
          const bool inside = ih >= 0 && ih < image_.size(1);
          const T* const line = inside ? static_cast<const T*>(image_.data) + n * image_.stride(0) +
                                             ih * image_.stride(1) + c0_
                                       : nullptr;
          f(i, a - begin, b - a, [&](int64_t j, int64_t c, float* to, int64_t stride) {
            copy_block(line, tw, m, ow, a - at + j, c, to, stride);
          });
          if (++jw == runs_w) jw = 0, jh++;
        }
        i += m;
        tw = 0;
        if (++th == h_.count) th = 0, n++;
      }
    });
  }

  // Elements [e, e + c) of the run that begins at tap offset ow, for places tw .. tw + m - 1 of a line of the image;
  // null: a line outside the image.
  template <class T>
  void copy_block(const T* line, int64_t tw, int64_t m, int64_t ow, int64_t e, int64_t c, float* to,
                  int64_t stride) const {
    if (!line) return copy_rows<T>(m, c, nullptr, 0, to, stride);
    // Places [low, high) have the whole run inside the image, others a part [x, y) of these elements.
    const int64_t pixel = image_.stride(2), room = image_.size(2) - run_taps_ - ow;
    const int64_t low = std::clamp((w_.step - 1 - ow) / w_.step, tw, tw + m);
    const int64_t high = room < 0 ? low : std::clamp(room / w_.step + 1, low, tw + m);
    auto edge = [&](int64_t t) {
      const int64_t iw = t * w_.step + ow;
      const int64_t x = std::clamp(-iw * channels_ - e, int64_t{0}, c);
      const int64_t y = std::clamp((image_.size(2) - iw) * channels_ - e, x, c);
      float* const p = to + (t - tw) * stride;
      copy_rows<T>(1, x, nullptr, 0, p, 0);
      copy_rows<T>(1, y - x, line + iw * pixel + e + x, 0, p + x, 0);
      copy_rows<T>(1, c - y, nullptr, 0, p + y, 0);
    };
    for (int64_t t = tw; t < low; t++) edge(t);
    copy_rows<T>(high - low, c, line + (low * w_.step + ow) * pixel + e, w_.step * pixel, to + (low - tw) * stride,
                 stride);
    for (int64_t t = high; t < tw + m; t++) edge(t);
  }

  View image_;
  const AxisTaps &h_, &w_;
  int64_t c0_, channels_, run_taps_ = 1;
  int64_t row_ = 0, column_ = 0;
};

}  // namespace dr::DR_ISA
