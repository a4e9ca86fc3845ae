#pragma once
// Bilinear sampling on a device: what bilinear.h is for the CPU. Last include of a `.cu`, as gpu.h.
//
// Reading an image and the gradients of coordinates go sample by sample. The gradient of the image goes pixel by pixel:
// a sample falls into a cell between four pixels, samples are sorted by cell, and a pixel merges the samples of the
// four cells around it, which gives them to it in ascending order. A chain is as long as the contract makes it; pixels
// and channels run beside each other.
//
// Where samples fall is said by a struct with
//   at(e)              the coordinates of sample e, in pixels
//   map(e)             the Map that it looks into
//   target(p, i, j)    the Map of pixel p of the gradient, and its row and column there

#include "kernels/grid_sample/footprint.h"

#include "kernels/core/gpu_channels.h"
#include "kernels/core/gpu_rows.h"
#include "kernels/core/gpu_sort.h"

namespace dr::DR_BACKEND {

// An image, or a level of a pyramid. Cell (i, j), of which pixel (i, j) is the lower right corner, is number
// first_cell + i (width + 1) + j.
struct Map {
  int64_t height, width, first_cell;
};

// A sample of a map whose pixel (0, 0) is at `origin` elements.
DR_DEVICE Corners corners_of(const Pairs& at, const Map& m, int64_t row, int64_t column, int64_t origin,
                             Padding padding, Place& place) {
  return corners_at(at.a, at.b, float(m.width), float(m.height), int32_t(row), column, int32_t(origin), padding, place);
}

// ---- the samples of whole images: of grid_sample and inverse_warp ----

template <class At>
struct ImageSamples {
  At at;
  int64_t height, width, per_image;  // per_image: samples

  DR_DEVICE Map image(int64_t n) const { return {height, width, n * (height + 1) * (width + 1)}; }
  DR_DEVICE Map map(int64_t e) const { return image(e / per_image); }
  DR_DEVICE Map target(int64_t p, int64_t& i, int64_t& j) const {
    const PixelAt q = pixel_at(p, height, width);
    i = q.i, j = q.j;
    return image(q.n);
  }
};

// ---- reading ----

// The part's channels of a sample that is inside; image: of the map's first pixel.
template <class T>
DR_DEVICE Channels blend(const Corners& at, const T* image, const ChannelParts::Part& part) {
  Channels y = load_channels(image + at.offset[0] + part.c, part);
  DR_UNROLL
  for (int i = 0; i < 4; i++) y[i] = at.weight[0] * y[i];
  DR_UNROLL
  for (int k = 1; k < 4; k++) {
    const Channels v = load_channels(image + at.offset[k] + part.c, part);
    DR_UNROLL
    for (int i = 0; i < 4; i++) y[i] = fma(at.weight[k], v[i], y[i]);
  }
  return y;
}

// ---- the gradients of coordinates ----

// The totals of four values over the group, as group_sum has them.
DR_DEVICE void group_sums(const float (&v)[4], float (&sum)[4]) {
  // Half of the lanes go on with two of them, a quarter with one.
  const bool upper = lane_index() & 16, odd = lane_index() & 8;
  const float a = (upper ? v[2] : v[0]) + shuffle_xor(upper ? v[0] : v[2], 16),
              b = (upper ? v[3] : v[1]) + shuffle_xor(upper ? v[1] : v[3], 16);
  float t = (odd ? b : a) + shuffle_xor(odd ? a : b, 8);
  for (int offset = 4; offset > 0; offset /= 2) t = t + shuffle_xor(t, offset);
  DR_UNROLL
  for (int k = 0; k < 4; k++) sum[k] = shuffle(t, k * 8);
}

// s[k] = the canonical sum over the channels of dy v_k, 0 for a corner outside, by the whole group, of which every lane
// gets it. A sample that is outside has none.
template <class T>
DR_DEVICE void group_dots(const T* dy, const T* image, const Corners& at, const Place& place, int64_t channels,
                          float (&s)[4]) {
  float acc[4] = {};
  if (at.inside)
    for (int64_t c = lane_index(); c < channels; c += kGroup) {
      const float d = load1(dy + c);
      DR_UNROLL
      for (int k = 0; k < 4; k++) acc[k] = fma(d, load1(image + at.offset[k] + c), acc[k]);
    }
  group_sums(acc, s);
  DR_UNROLL
  for (int k = 0; k < 4; k++) s[k] = place.of_corner(k, s[k]);
}
// The same of up to four channels, by one thread.
template <class T>
DR_DEVICE void few_dots(const T* dy, const T* image, const Corners& at, const Place& place, int64_t channels,
                        float (&s)[4]) {
  DR_UNROLL
  for (int k = 0; k < 4; k++) {
    float t[4] = {};
    DR_UNROLL
    for (int c = 0; c < 4; c++)
      if (at.inside && c < channels) t[c] = fma(load1(dy + c), load1(image + at.offset[k] + c), 0.f);
    s[k] = place.of_corner(k, (t[0] + t[2]) + (t[1] + t[3]));
  }
}

// slope[e] = scale times what dy . y changes by with the coordinates of sample e of an image; y has `channels`.
template <class T, class At>
struct Slopes {
  ImageSamples<At> samples;
  Pixels<const T> image;
  const T* dy;
  int64_t channels;
  Padding padding;
  float scale_x, scale_y;
  float* slope;

};
template <bool kFew, class T, class At>
struct SlopesOfSample {
  Slopes<T, At> v;
  DR_DEVICE void operator()(int64_t e) const {
    Place place;
    const Corners at = corners_of(v.samples.at(e), v.samples.map(e), v.image.row, v.image.column, 0, v.padding, place);
    const T* const x = v.image.at(e / v.samples.per_image, 0, 0);
    float s[4];
    if constexpr (kFew) few_dots(v.dy + e * v.channels, x, at, place, v.channels, s);
    else group_dots(v.dy + e * v.channels, x, at, place, v.channels, s);
    if (!kFew && lane_index() != 0) return;
    const Pairs slopes = place.slopes(s[0], s[1], s[2], s[3]);
    v.slope[2 * e] = v.scale_x * slopes.a, v.slope[2 * e + 1] = v.scale_y * slopes.b;
  }
};
template <class T, class At>
void sample_slopes(const Context& ctx, int64_t count, const Slopes<T, At>& v) {
  if (v.channels <= 4) for_each(ctx, count, SlopesOfSample<true, T, At>{v});
  else for_rows(ctx, count, SlopesOfSample<false, T, At>{v});
}

// ---- the gradient of the image ----

// The cell of each sample; `cells`, beyond all of them, for one that is outside.
template <class S>
struct CellOfSample {
  S samples;
  Padding padding;
  int64_t cells;
  int32_t* cell;
  DR_DEVICE void operator()(int64_t e) const {
    const Map m = samples.map(e);
    Place place;
    const Corners at = corners_of(samples.at(e), m, 1, 1, 0, padding, place);
    cell[e] = int32_t(at.inside ? m.first_cell + (at.y0.integer + 1) * (m.width + 1) + at.x0.integer + 1 : cells);
  }
};
// Where each cell's samples begin among those sorted by cell.
struct FirstOfCell {
  const int32_t* sorted;
  int64_t samples;
  int32_t* first;
  DR_DEVICE void operator()(int64_t cell) const {
    int64_t begin = 0, end = samples;
    while (begin < end) {
      const int64_t middle = (begin + end) / 2;
      if (sorted[middle] < cell) begin = middle + 1;
      else end = middle;
    }
    first[cell] = int32_t(begin);
  }
};

// dx[pixel], in the order of memory: value(e, part) is what sample e gives to a corner of weight 1.
template <class T, class S, class V>
struct GatherSamples {
  S samples;
  V value;
  ChannelParts parts;
  Padding padding;
  const int32_t *order, *first;  // samples by their cell; where a cell's begin
  T* dx;

  DR_DEVICE void operator()(int64_t item) const {
    const ChannelParts::Part part = parts(item);
    int64_t i, j;
    const Map m = samples.target(part.pixel, i, j);
    const int32_t here = int32_t(i * m.width + j);
    // The earliest sample of each of the four cells that is still to come.
    constexpr int32_t kNone = INT32_MAX;
    int32_t next[4], at[4], end[4];
    DR_UNROLL
    for (int k = 0; k < 4; k++) {
      const int64_t cell = m.first_cell + (i + k / 2) * (m.width + 1) + j + k % 2;
      at[k] = first[cell], end[k] = first[cell + 1];
      next[k] = at[k] < end[k] ? order[at[k]] : kNone;
    }
    Channels sum = no_channels();
    for (;;) {
      const int32_t a = next[0] < next[1] ? next[0] : next[1], b = next[2] < next[3] ? next[2] : next[3],
                     e = a < b ? a : b;
      if (e == kNone) break;
      DR_UNROLL
      for (int k = 0; k < 4; k++)
        if (next[k] == e) next[k] = ++at[k] < end[k] ? order[at[k]] : kNone;
      Place place;
      const Corners corners = corners_of(samples.at(e), m, m.width, 1, 0, padding, place);
      const Channels v = value(e, part);
      // One that lies on the edge has several corners for which the same pixel stands.
      DR_UNROLL
      for (int k = 0; k < 4; k++)
        if (corners.offset[k] == here)
          DR_UNROLL
          for (int c = 0; c < 4; c++) sum[c] = fma(corners.weight[k], v[c], sum[c]);
    }
    store_channels(dx + part.pixel * parts.channels + part.c, sum, part);
  }
};

// pixels: of dx, packed, with `channels` each. Scratch: ScatterSize::bytes, from byte `scratch` on.
template <class T, class S, class V>
void gather_samples(const Context& ctx, const ScatterSize& size, const S& samples, Padding padding, const V& value,
                    const ChannelParts& parts, int64_t pixels, T* dx, size_t scratch) {
  CHECK(size.samples < INT32_MAX && size.cells < INT32_MAX, "{} samples of {} cells are too many to be sorted", size.samples,
        size.cells);
  const PlaceSort sort = size.sort();
  int32_t* const words = ctx.scratch_as<int32_t>(size.bytes() / sizeof(int32_t), scratch);
  const SortScratch room(sort, words);
  for_each(ctx, size.samples, CellOfSample<S>{samples, padding, size.cells, room.keys});
  const SortedPlaces sorted = sort_places(ctx, sort, room);
  int32_t* const first = words + sort.words();
  for_each(ctx, size.cells + 1, FirstOfCell{sorted.keys, size.samples, first});
  for_each(ctx, pixels * parts.parts,
           GatherSamples<T, S, V>{samples, value, parts, padding, sorted.places, first, dx});
}

// The gradient of what was sampled, packed.
template <class T>
struct SampleGradient {
  const T* dy;
  int64_t channels;
  DR_DEVICE Channels operator()(int64_t e, const ChannelParts::Part& part) const {
    return load_channels(dy + e * channels + part.c, part);
  }
};

}  // namespace dr::DR_BACKEND
