#pragma once
// Bilinear sampling, W samples at a time: what grid_sample, inverse_warp and deformable_attention share, so that they
// do the same operations. kernels/grid_sample/grid_sample.h states them. Last include of a `_cpu.cpp`, as simd.h.
//
// Coordinates and weights of W samples are computed in vectors and left in a Footprint; then each sample in turn runs
// over its channels. Up to four channels are run over one by one, or all at once: a vector would be mostly empty.

#include "kernels/core/work_items.h"
#include "kernels/grid_sample/footprint.h"

#include "kernels/core/reduce.h"

namespace dr::DR_ISA {

// ---- channels: vectors of them, or single ones ----

struct One {};  // the n of a single channel
template <class T>
DR_INLINE float load_n(const T* p, One) {
  return load1(p);
}
template <class T>
DR_INLINE void store_n(T* p, float v, One) {
  store1(p, v);
}
DR_INLINE float spread(float v, One) { return v; }
DR_INLINE f32v spread(float v, int) { return splat(v); }

// The n of 2 to 4 channels of f32 in one vector of four: the lanes after them are zero.
typedef float f32q __attribute__((vector_size(16)));
template <int C>
struct Few {};
template <int C>
DR_INLINE f32q load_n(const float* p, Few<C>) {
#if defined(DR_ISA_avx512)
  return _mm_maskz_loadu_ps((1 << C) - 1, p);
#elif defined(DR_ISA_avx2)
  return _mm_maskload_ps(p, _mm_setr_epi32(-1, -1, C > 2 ? -1 : 0, C > 3 ? -1 : 0));
#else
  f32q v{};
  for (int i = 0; i < C; i++) v[i] = p[i];
  return v;
#endif
}
template <int C>
DR_INLINE void store_n(float* p, f32q v, Few<C>) {
  std::memcpy(p, &v, 8);
  if constexpr (C == 3) p[2] = v[2];
  if constexpr (C == 4) std::memcpy(p, &v, 16);
}
template <int C>
DR_INLINE f32q spread(float v, Few<C>) {
  return v - f32q{};
}
#if !defined(DR_ISA_portable)  // whose vectors have four lanes anyway
DR_INLINE f32q fma(f32q a, f32q b, f32q c) { return _mm_fmadd_ps(a, b, c); }
#endif

// f(c, n) for runs of n channels. C: how many there are, or 0 where any number.
template <int C, class F>
DR_INLINE void for_channels(int64_t count, F&& f) {
  if constexpr (C == 0) {
    for_vectors(count, f);
  } else {
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) f(int64_t(c), One{});
  }
}

// f(constant C) as for_channels wants it.
template <class F>
void with_channels(int64_t count, F&& f) {
  switch (count) {
    case 1: return f(std::integral_constant<int, 1>{});
    case 2: return f(std::integral_constant<int, 2>{});
    case 3: return f(std::integral_constant<int, 3>{});
    case 4: return f(std::integral_constant<int, 4>{});
    default: return f(std::integral_constant<int, 0>{});
  }
}

// ---- where samples fall ----

struct Footprint : Place {
  f32v first_row, second_row;         // of pixels that stand for the corners
  alignas(64) float weight[4][W];     // of Corners
  alignas(64) int32_t offset[4][W];
  alignas(64) int32_t live[W];        // 3; 0: the sample is outside. keep_rows: bit 0 first_row, bit 1 second_row

  // Only pixels of rows [begin, end) count.
  DR_INLINE void keep_rows(float begin, float end) {
    const i32v first = (first_row >= splat(begin)) & (first_row < splat(end)),
               second = (second_row >= splat(begin)) & (second_row < splat(end));
    i32v v;
    std::memcpy(&v, live, sizeof v);
    v &= (first & 1) | (second & 2);
    std::memcpy(live, &v, sizeof v);
  }
};

DR_INLINE void footprint(f32v x, f32v y, f32v width, f32v height, i32v row, int64_t column, i32v origin,
                         Padding padding, Footprint& out) {
  const Corners c = corners_at(x, y, width, height, row, column, origin, padding, out);
#pragma GCC unroll 4
  for (int k = 0; k < 4; k++) {
    store(out.weight[k], c.weight[k]);
    std::memcpy(out.offset[k], &c.offset[k], sizeof c.offset[k]);
  }
  const i32v live = c.inside & 3;
  std::memcpy(out.live, &live, sizeof live);
  const f32v first = c.y0.value;
  out.first_row = pick(out.top, first, f32v{}), out.second_row = pick(out.bottom, first + splat(1), first);
}

// ---- one sample ----

// Channels c.. of sample i.
template <class T>
DR_INLINE auto blend(const Footprint& f, int i, const T* image, int64_t c, auto n) {
  auto v = spread(f.weight[0][i], n) * load_n(image + f.offset[0][i] + c, n);
#pragma GCC unroll 3
  for (int k = 1; k < 4; k++) v = fma(spread(f.weight[k][i], n), load_n(image + f.offset[k][i] + c, n), v);
  return v;
}

// The four totals of Lanes::total() at once, which saves shuffles.
DR_INLINE void totals(const Lanes (&l)[4], float (&sum)[4]) {
#if defined(DR_ISA_avx512)
  f32v v[4];
#pragma GCC unroll 4
  for (int k = 0; k < 4; k++) v[k] = l[k].acc[0] + l[k].acc[1];
  auto halves = [](f32v a, f32v b) {
    return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
           __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
  };
  const f32v ab = halves(v[0], v[1]), cd = halves(v[2], v[3]);
  const f32v quads = __builtin_shufflevector(ab, cd, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
                     __builtin_shufflevector(ab, cd, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  const f32v pairs = quads + f32v(_mm512_permute_ps(quads, 0x4e));
  const f32v all = pairs + f32v(_mm512_permute_ps(pairs, 0xb1));
  for (int k = 0; k < 4; k++) sum[k] = all[4 * k];
#elif defined(DR_ISA_avx2)
  f32v v[4];
#pragma GCC unroll 4
  for (int k = 0; k < 4; k++) v[k] = (l[k].acc[0] + l[k].acc[2]) + (l[k].acc[1] + l[k].acc[3]);
  const f32v ab = f32v(_mm256_permute2f128_ps(v[0], v[1], 0x20)) + f32v(_mm256_permute2f128_ps(v[0], v[1], 0x31));
  const f32v cd = f32v(_mm256_permute2f128_ps(v[2], v[3], 0x20)) + f32v(_mm256_permute2f128_ps(v[2], v[3], 0x31));
  const f32v pairs = f32v(_mm256_shuffle_ps(ab, cd, 0x44)) + f32v(_mm256_shuffle_ps(ab, cd, 0xee));  // a c, b d
  const f32v all = pairs + f32v(_mm256_permute_ps(pairs, 0xb1));
  sum[0] = all[0], sum[1] = all[4], sum[2] = all[2], sum[3] = all[6];
#else
  for (int k = 0; k < 4; k++) sum[k] = l[k].total();
#endif
}

// sum[k] = canonical row sum over the channels of dy v_k, by fma; v_k the pixel that stands for corner k of sample i.
template <int C, class T>
DR_INLINE void corner_dots(const T* dy, const Footprint& f, int i, const T* image, int64_t channels, float (&sum)[4]) {
  const T* v[4];
#pragma GCC unroll 4
  for (int k = 0; k < 4; k++) v[k] = image + f.offset[k][i];
  if constexpr (C == 0) {
    Lanes lanes[4];
    auto add = [&](int j, int64_t c, auto n) {
      const f32v d = load_n(dy + c, n);
#pragma GCC unroll 4
      for (int k = 0; k < 4; k++) lanes[k].acc[j] = fma(d, load_n(v[k] + c, n), lanes[k].acc[j]);
    };
    int64_t c = 0;
    for (; c + 32 <= channels; c += 32) {
#pragma GCC unroll 8
      for (int j = 0; j < 32 / W; j++) add(j, c + j * W, std::integral_constant<int, W>{});
    }
    if (c < channels) {
#pragma GCC unroll 8
      for (int j = 0; j < 32 / W; j++) {
        const int64_t left = channels - (c + j * W);
        if (left >= W) add(j, c + j * W, std::integral_constant<int, W>{});
        else if (left > 0) add(j, c + j * W, int(left));
      }
    }
    totals(lanes, sum);
  } else {
    // Lanes past C hold +0, so the butterfly is (0 + 2) + (1 + 3).
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
      float t[4] = {};
#pragma GCC unroll 4
      for (int c = 0; c < C; c++) t[c] = fma(load1(dy + c), load1(v[k] + c), 0.f);
      sum[k] = (t[0] + t[2]) + (t[1] + t[3]);
    }
  }
}

// corner_dots of W samples: of a corner outside, 0.
struct Dots {
  alignas(64) float sum[4][W] = {};

  DR_INLINE void set(int i, const float (&s)[4]) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) sum[k][i] = s[k];
  }
  DR_INLINE f32v corner(const Footprint& f, int k) const { return f.of_corner(k, load(sum[k])); }
  DR_INLINE Pairs slopes(const Footprint& f) const {
    return f.slopes(corner(f, 0), corner(f, 1), corner(f, 2), corner(f, 3));
  }
};

// For every corner k: sums[its pixel, c] = fma(weight_k, value(c, n), sums[its pixel, c]).
template <int C, class F>
DR_INLINE void scatter(const Footprint& f, int i, int64_t channels, float* sums, F&& value) {
  auto add = [&](int k, int64_t c, auto v, auto n) {
    float* const p = sums + f.offset[k][i] + c;
    store_n(p, fma(spread(f.weight[k][i], n), v, load_n(p, n)), n);
  };
  if (f.live[i] == 3) {
    for_channels<C>(channels, [&](int64_t c, auto n) {
      const auto v = value(c, n);
#pragma GCC unroll 4
      for (int k = 0; k < 4; k++) add(k, c, v, n);
    });
  } else if (f.live[i]) {
    for_channels<C>(channels, [&](int64_t c, auto n) {
      const auto v = value(c, n);
      for (int k = f.live[i] == 1 ? 0 : 2, end = k + 2; k < end; k++) add(k, c, v, n);
    });
  }
}

// ---- a run of samples of one image ----

template <class T>
struct SampledImage {
  const T* pixels;
  int64_t height, width, row, column, channels;  // row, column: elements to the next one
  Padding padding;
};
template <class T>
DR_INLINE SampledImage<T> sampled_image(const View& x, int64_t n, Padding padding) {
  return {static_cast<const T*>(x.data) + n * x.stride(0), x.size(1), x.size(2), x.stride(1), x.stride(2), x.size(3),
          padding};
}

// Samples at `at` of one image, of which memory begins at row `first_row`.
template <class T>
DR_INLINE void footprint(Pairs at, const SampledImage<T>& m, int64_t first_row, Footprint& out) {
  footprint(at.a, at.b, splat(float(m.width)), splat(float(m.height)), splat_i(int(m.row)), m.column,
            splat_i(int(-first_row * m.row)), m.padding, out);
}

// xy(i, n) gives the coordinates of samples i .. i + n - 1 of the run, as Pairs; y is packed.
template <int C, class T, class XY>
DR_INLINE void sample_run(const SampledImage<T>& m, int64_t count, XY&& xy, T* y) {
  Footprint f;
  for_vectors(count, [&](int64_t first, auto n) {
    const Pairs at = xy(first, n);
    footprint(at, m, 0, f);
    for (int i = 0; i < n; i++) {
      T* const out = y + (first + i) * m.channels;
      if (f.live[i] == 0) {
        for_channels<C>(m.channels, [&](int64_t c, auto k) { store_n(out + c, spread(0, k), k); });
      } else if constexpr (C > 1 && std::is_same_v<T, float>) {
        store_n(out, blend(f, i, m.pixels, 0, Few<C>{}), Few<C>{});
      } else {
        for_channels<C>(m.channels, [&](int64_t c, auto k) { store_n(out + c, blend(f, i, m.pixels, c, k), k); });
      }
    }
  });
}

// take(i, slopes, n) gets the gradients with respect to the coordinates.
template <int C, class T, class XY, class Take>
DR_INLINE void slope_run(const SampledImage<T>& m, int64_t count, XY&& xy, const T* dy, Take&& take) {
  Footprint f;
  Dots dots;
  for_vectors(count, [&](int64_t first, auto n) {
    const Pairs at = xy(first, n);
    footprint(at, m, 0, f);
    for (int i = 0; i < n; i++) {
      float sum[4] = {};
      if (f.live[i]) corner_dots<C>(dy + (first + i) * m.channels, f, i, m.pixels, m.channels, sum);
      dots.set(i, sum);
    }
    take(first, dots.slopes(f), n);
  });
}

// Adds the run's samples to the gradient of rows [first_row, last_row) of the image, packed, of which `sums` is the
// first row. m: the gradient's sizes and strides.
template <int C, class T, class XY>
DR_INLINE void scatter_run(const SampledImage<T>& m, int64_t first_row, int64_t last_row, int64_t count, XY&& xy,
                           const T* dy, float* sums) {
  Footprint f;
  const bool part = first_row > 0 || last_row < m.height;
  for_vectors(count, [&](int64_t first, auto n) {
    const Pairs at = xy(first, n);
    footprint(at, m, first_row, f);
    if (part) f.keep_rows(float(first_row), float(last_row));
    for (int i = 0; i < n; i++) {
      const T* const d = dy + (first + i) * m.channels;
      scatter<C>(f, i, m.channels, sums, [&](int64_t c, auto k) { return load_n(d + c, k); });
    }
  });
}

// dx of images (N,H,W,C): run(n, add) calls add(count, xy, dy) for the runs of samples of image n, in ascending order,
// once for each band of its rows. Scratch for bf16 sums: RowBands::sum_bytes from byte `scratch` on.
template <int C, class T, class Run>
void scatter_bands(Context& ctx, const View& dx, Padding padding, size_t scratch, Run&& run) {
  const RowBands bands = row_bands(dx, ctx.threads());
  constexpr bool kDirect = std::is_same_v<T, float>;
  for_each_item(ctx, dx.size(0) * bands.bands, [&](int64_t item, int64_t slot) {
    const int64_t n = item / bands.bands, begin = bands.begin(item % bands.bands),
                  end = bands.begin(item % bands.bands + 1), count = (end - begin) * bands.row_elements;
    T* const out = static_cast<T*>(dx.data) + n * dx.stride(0) + begin * bands.row_elements;
    float* sums;
    if constexpr (kDirect) sums = out;
    else sums = ctx.scratch_as<float>(size_t(bands.band_elements()),
                                      scratch + size_t(slot * bands.band_elements()) * sizeof(float));
    std::memset(sums, 0, size_t(count) * sizeof(float));
    run(n, [&](int64_t samples, auto&& xy, const T* dy) {
      scatter_run<C>(sampled_image<T>(dx, n, padding), begin, end, samples, xy, dy, sums);
    });
    if constexpr (!kDirect)
      for_vectors(count, [&](int64_t i, auto k) { store_n(out + i, load_n(sums + i, k), k); });
  });
}

}  // namespace dr::DR_ISA
