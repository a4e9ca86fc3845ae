#include "kernels/deformable_attention/deformable_attention.h"

#include "kernels/grid_sample/gpu_bilinear.h"

namespace dr {
namespace DR_BACKEND {
namespace {

// The samples of a call. Sample e is number e % points of query e / points, queries being counted over (N,Q,heads).
struct Samples {
  struct Level {
    int32_t height, width, first_pixel, first_cell;  // of one head of one sample
  } levels[DeformableAttention::kMaxLevels];
  int32_t level_count, per_level, points;  // points: of a query
  int64_t queries, heads, pixels, cells;   // queries: of one (n); pixels and cells: of one head of one n
  const float *locations, *weights;
  int64_t locations_stride, weights_stride;

  Samples(const DeformableAttention& op, const DeformableAttention::In& in)
      : level_count(int32_t(in.locations.size(3))),
        per_level(int32_t(in.locations.size(4))),
        points(level_count * per_level),
        queries(in.locations.size(1) * in.locations.size(2)),
        heads(in.locations.size(2)),
        pixels(0),
        cells(0),
        locations(in.locations.as<float>()),
        weights(in.weights.as<float>()),
        locations_stride(in.locations.stride(0)),
        weights_stride(in.weights.stride(0)) {
    for (int l = 0; l < level_count; l++) {
      const auto& level = op.levels[size_t(l)];
      levels[l] = {level.height, level.width, int32_t(pixels), int32_t(cells)};
      pixels += int64_t{level.height} * level.width;
      cells += ScatterSize::cells_of(level.height, level.width);
    }
  }

  DR_DEVICE const Level& level(int64_t e) const { return levels[e % points / per_level]; }
  DR_DEVICE int64_t sample_of(int64_t e) const { return e / (queries * points); }  // n
  DR_DEVICE int64_t head_of(int64_t e) const { return e / points % heads; }
  DR_DEVICE float weight(int64_t e) const {
    const int64_t n = sample_of(e);
    return weights[n * weights_stride + e - n * queries * points];
  }
  DR_DEVICE Pairs at(int64_t e) const {
    const int64_t n = sample_of(e);
    const float* const p = locations + n * locations_stride + 2 * (e - n * queries * points);
    const Level& l = level(e);
    return {fma(p[0], float(l.width), -0.5f), fma(p[1], float(l.height), -0.5f)};
  }
  DR_DEVICE Map map(int64_t n, int64_t head, const Level& l) const {
    return {l.height, l.width, (n * heads + head) * cells + l.first_cell};
  }
  DR_DEVICE Map map(int64_t e) const { return map(sample_of(e), head_of(e), level(e)); }
  DR_DEVICE Map target(int64_t p, int64_t& i, int64_t& j) const {
    const int64_t row = p / heads, n = row / pixels, s = row - n * pixels;
    int l = 0;
    while (l + 1 < level_count && s >= levels[l + 1].first_pixel) l++;
    const int64_t at = s - levels[l].first_pixel;
    i = at / levels[l].width, j = at % levels[l].width;
    return map(n, p % heads, levels[l]);
  }
};

template <class T>
struct Values {
  const T* data;
  int64_t sample, pixel, head;  // elements to the next
  explicit Values(const View& v)
      : data(static_cast<const T*>(v.data)), sample(v.stride(0)), pixel(v.stride(1)), head(v.stride(2)) {}
  DR_DEVICE Corners corners(const Samples& s, int64_t e, Place& place) const {
    const auto& l = s.level(e);
    return corners_of(s.at(e), {l.height, l.width, 0}, l.width * pixel, pixel, l.first_pixel * pixel, Padding::zeros,
                      place);
  }
  // Where the maps begin that sample e looks into.
  DR_DEVICE const T* maps(const Samples& s, int64_t e) const {
    return data + s.sample_of(e) * sample + s.head_of(e) * head;
  }
};

inline constexpr int kThreads = 256, kSlots = 1024;

// Corners of samples, numbered (point, query) so that neighbouring queries lie in different banks.
struct Found {
  float weight[4][kSlots];    // of corners
  float share[kSlots];        // of the sample
  int32_t offset[4][kSlots];  // offset[0] < 0: the sample is outside
};

// A block has as many queries as it has threads for their channels. It finds the corners of a few points of all of
// them, then each thread adds these to its channels.
template <class T>
DR_KERNEL void attend(Samples samples, Values<T> values, ChannelParts parts, int64_t queries, T* y) {
  auto& found = shared_memory<Found>();
  const int in_block = kThreads / int(parts.parts), at_once = kSlots / in_block;
  const int64_t first = int64_t(block_index().x) * in_block;
  const int own = thread_index() / int(parts.parts);
  const int64_t query = first + own;
  const bool active = own < in_block && query < queries;
  const ChannelParts::Part part = parts(query * parts.parts + thread_index() % int(parts.parts));
  const T* const maps = samples.points > 0 ? values.maps(samples, active ? query * samples.points : 0) : nullptr;
  Channels sum = no_channels();
  for (int p0 = 0; p0 < samples.points; p0 += at_once) {
    const int n = samples.points - p0 < at_once ? samples.points - p0 : at_once;
    for (int slot = thread_index(); slot < n * in_block; slot += kThreads) {
      const int64_t q = first + slot % in_block;
      if (q >= queries) continue;
      const int64_t e = q * samples.points + p0 + slot / in_block;
      Place place;
      const Corners at = values.corners(samples, e, place);
      DR_UNROLL
      for (int k = 0; k < 4; k++) found.weight[k][slot] = at.weight[k], found.offset[k][slot] = at.offset[k];
      if (!at.inside) found.offset[0][slot] = -1;
      found.share[slot] = samples.weight(e);
    }
    block_sync();  // the corners are there
    for (int p = 0; active && p < n; p++) {
      const int slot = p * in_block + own;
      Corners at;
      DR_UNROLL
      for (int k = 0; k < 4; k++) at.weight[k] = found.weight[k][slot], at.offset[k] = found.offset[k][slot];
      if (at.offset[0] < 0) continue;
      const Channels v = blend(at, maps, part);
      DR_UNROLL
      for (int c = 0; c < 4; c++) sum[c] = fma(found.share[slot], v[c], sum[c]);
    }
    block_sync();  // all have read them
  }
  if (active) store_channels(y + query * parts.channels + part.c, sum, part);
}

// The gradients of one sample's weight and location, by a group.
template <class T>
struct PointGradient {
  Samples samples;
  Values<T> values;
  const T* dy;
  int64_t width;
  float *dweights, *dlocations;  // null: not wanted

  DR_DEVICE void operator()(int64_t e) const {
    Place place;
    const Corners at = values.corners(samples, e, place);
    float s[4];
    group_dots(dy + e / samples.points * width, values.maps(samples, e), at, place, width, s);
    if (lane_index() != 0) return;
    if (dweights) {
      float sum = at.weight[0] * s[0];
      DR_UNROLL
      for (int k = 1; k < 4; k++) sum = fma(at.weight[k], s[k], sum);
      dweights[e] = sum;
    }
    if (dlocations) {
      const Pairs slope = place.slopes(s[0], s[1], s[2], s[3]);
      const float share = samples.weight(e);
      const auto& level = samples.level(e);
      dlocations[2 * e] = share * slope.a * float(level.width);
      dlocations[2 * e + 1] = share * slope.b * float(level.height);
    }
  }
};

// What a sample gives to the pixels that it was taken from.
template <class T>
struct Given {
  Samples samples;
  const T* dy;
  int64_t width;
  DR_DEVICE Channels operator()(int64_t e, const ChannelParts::Part& part) const {
    const float share = samples.weight(e);
    const Channels d = load_channels(dy + e / samples.points * width + part.c, part);
    return for_channels([&](int i) { return share * d[i]; });
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void DeformableAttention::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  CHECK(out.y.packed(), "deformable_attention: y must be packed");
  const int64_t width = in.value.size(3), queries = in.locations.size(0) * in.locations.size(1) * in.locations.size(2);
  if (queries == 0) return;
  const ChannelParts parts = channel_parts(width, in.value, out.y);
  with_float_type(in.value.dtype, [&]<class T>(T*) {
    launch<attend<T>>(
        ctx, {.grid = {blocks_for(queries, kThreads / parts.parts)}, .threads = kThreads, .shared = sizeof(Found)},
        Samples(*this, in), Values<T>(in.value), parts, queries, static_cast<T*>(out.y.data));
  });
}

template <>
void DeformableAttention::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout,
                                             const Grad& grad) const {
  for (const View* v : {&dout.y, &grad.value, &grad.locations, &grad.weights})
    CHECK(!*v || v->packed(), "deformable_attention: gradients must be packed");
  const Samples samples(*this, in);
  const int64_t width = in.value.size(3);
  with_float_type(in.value.dtype, [&]<class T>(T*) {
    const T* const dy = static_cast<const T*>(dout.y.data);
    if (grad.locations || grad.weights)
      for_rows(
          ctx, in.weights.count(),
          PointGradient<T>{samples, Values<T>(in.value), dy, width, grad.weights ? grad.weights.as<float>() : nullptr,
                           grad.locations ? grad.locations.as<float>() : nullptr});
    if (grad.value)
      gather_samples<T>(ctx, scatter_size(in), samples, Padding::zeros, Given<T>{samples, dy, width},
                        channel_parts(width, dout.y, grad.value), grad.value.count() / width,
                        static_cast<T*>(grad.value.data), 0);
  });
}

}  // namespace dr
