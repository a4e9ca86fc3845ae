#include "kernels/deformable_attention/deformable_attention.h"

#include <algorithm>

#include "kernels/core/stream.h"
#include "kernels/grid_sample/bilinear.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kQueries = 64;  // of parallel work: enough to use what the cache holds of one head's maps

// The L P samples of one query and head, in vectors: which map each looks into.
struct Points {
  int64_t count = 0, column = 0;
  alignas(64) float width[DeformableAttention::kMaxPoints] = {}, height[DeformableAttention::kMaxPoints] = {};
  alignas(64) int32_t row[DeformableAttention::kMaxPoints] = {}, origin[DeformableAttention::kMaxPoints] = {};

  // Levels [first, last), one pixel after the other in steps of `column` elements.
  Points(const DeformableAttention& op, const DeformableAttention::In& in, int64_t first, int64_t last, int64_t column_)
      : column(column_) {
    int64_t pixels = 0;
    for (int64_t l = 0; l < last; l++) {
      const auto& level = op.levels[size_t(l)];
      for (int64_t p = 0; p < in.locations.size(4) && l >= first; p++, count++) {
        width[count] = float(level.width), height[count] = float(level.height);
        row[count] = int32_t(level.width * column), origin[count] = int32_t(pixels * column);
      }
      pixels += int64_t(level.height) * level.width;
    }
  }
  // Samples i .. i + n - 1, where `locations` are those of all.
  DR_INLINE void footprints(const float* locations, int64_t i, auto n, Footprint& out) const {
    const Pairs at = load_pairs(locations + 2 * i, n);
    const f32v w = load(width + i), h = load(height + i), half = splat(-0.5f);
    i32v rows, origins;
    std::memcpy(&rows, row + i, sizeof rows);
    std::memcpy(&origins, origin + i, sizeof origins);
    footprint(fma(at.a, w, half), fma(at.b, h, half), w, h, rows, column, origins, Padding::zeros, out);
  }
};

// One query of one head of a sample, and what is read there.
struct Query {
  int64_t n, head, index;  // index: of (n, q, head) in a packed tensor
  const float *locations, *weights;
  Query(const DeformableAttention::In& in, int64_t n_, int64_t q, int64_t head_) : n(n_), head(head_) {
    const int64_t heads = in.locations.size(2), points = in.locations.size(3) * in.locations.size(4);
    index = (n * in.locations.size(1) + q) * heads + head;
    locations = in.locations.as<float>() + n * in.locations.stride(0) + 2 * (q * heads + head) * points;
    weights = in.weights.as<float>() + n * in.weights.stride(0) + (q * heads + head) * points;
  }
};

// f(query) for all, head by head.
template <class F>
void for_queries(Context& ctx, const DeformableAttention::In& in, F&& f) {
  for_pieces(ctx, in.locations.size(0), in.locations.size(1), kQueries, false,
             [&](int64_t n, int64_t first, int64_t count) {
               for (int64_t h = 0; h < in.locations.size(2); h++)
                 for (int64_t q = first; q < first + count; q++) f(Query(in, n, q, h));
             });
}

template <class T>
const T* head_of(const View& value, const Query& q) {
  return static_cast<const T*>(value.data) + q.n * value.stride(0) + q.head * value.stride(2);
}

template <class T>
DR_INLINE void forward_query(const Points& points, const Query& q, const T* value, int64_t width, T* y) {
  Footprint f[DeformableAttention::kMaxPoints / W];
  for_vectors(points.count, [&](int64_t i, auto n) { points.footprints(q.locations, i, n, f[i / W]); });
  for_vectors(width, [&](int64_t d, auto n) {
    f32v sum{};
    for (int64_t p = 0; p < points.count; p++) {
      const Footprint& at = f[p / W];
      const int i = int(p % W);
      if (at.live[i]) sum = fma(splat(q.weights[p]), blend(at, i, value, d, n), sum);
    }
    store_n(y + d, sum, n);
  });
}

// Gradients of a query's weights and locations; either may be null.
template <class T>
DR_INLINE void point_gradients(const Points& points, const Query& q, const T* value, int64_t width, const T* dy,
                               float* dweights, float* dlocations) {
  Footprint f;
  Dots dots;
  for_vectors(points.count, [&](int64_t first, auto n) {
    points.footprints(q.locations, first, n, f);
    for (int i = 0; i < n; i++) {
      float sum[4] = {};
      if (f.live[i]) corner_dots<0>(dy, f, i, value, width, sum);
      dots.set(i, sum);
    }
    if (dweights) {
      f32v sum = load(f.weight[0]) * dots.corner(f, 0);
      for (int k = 1; k < 4; k++) sum = fma(load(f.weight[k]), dots.corner(f, k), sum);
      store_n(dweights + first, sum, n);
    }
    if (dlocations) {
      const Pairs slope = dots.slopes(f);
      const f32v a = load_n(q.weights + first, n);
      store_pairs(dlocations + 2 * first, a * slope.a * load(points.width + first),
                  a * slope.b * load(points.height + first), n);
    }
  });
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void DeformableAttention::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t width = in.value.size(3);
  CHECK(out.y.packed(), "deformable_attention: y must be packed");
  const Points points(*this, in, 0, in.locations.size(3), in.value.stride(1));
  with_float_type(in.value.dtype, [&]<class T>(T*) {
    for_queries(ctx, in, [&](const Query& q) {
      forward_query<T>(points, q, head_of<T>(in.value, q), width, static_cast<T*>(out.y.data) + q.index * width);
    });
  });
}

template <>
void DeformableAttention::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout,
                                             const Grad& grad) const {
  const int64_t queries = in.locations.size(1), heads = in.value.size(2), width = in.value.size(3);
  const int64_t level_count = in.locations.size(3), per_level = in.locations.size(4),
                per_query = level_count * per_level;
  for (const View* v : {&dout.y, &grad.value, &grad.locations, &grad.weights})
    CHECK(!*v || v->packed(), "deformable_attention: gradients must be packed");
  with_float_type(in.value.dtype, [&]<class T>(T*) {
    const T* const dy = static_cast<const T*>(dout.y.data);
    if (grad.locations || grad.weights) {
      const Points points(*this, in, 0, level_count, in.value.stride(1));
      for_queries(ctx, in, [&](const Query& q) {
        point_gradients<T>(points, q, head_of<T>(in.value, q), width, dy + q.index * width,
                           grad.weights ? grad.weights.as<float>() + q.index * per_query : nullptr,
                           grad.locations ? grad.locations.as<float>() + 2 * q.index * per_query : nullptr);
      });
    }
    if (!grad.value) return;
    // Shared out by sample, head and, where these are few, level.
    const bool few = ctx.threads() > 1 && in.value.size(0) * heads < 4 * ctx.threads();
    const int64_t shares = few ? level_count : 1, pixels = in.value.size(1);
    constexpr bool kDirect = std::is_same_v<T, float>;
    for_each_item(ctx, in.value.size(0) * heads * shares, [&](int64_t item, int64_t slot) {
      const int64_t n = item / (heads * shares), h = item / shares % heads, share = item % shares;
      const int64_t first = shares == 1 ? 0 : share, last = shares == 1 ? level_count : share + 1;
      int64_t begin = 0, end = 0;  // pixels of these levels
      for (int64_t l = 0; l < last; l++) {
        if (l == first) begin = end;
        end += int64_t(levels[size_t(l)].height) * levels[size_t(l)].width;
      }
      const int64_t column = kDirect ? heads * width : width;
      T* const out = static_cast<T*>(grad.value.data) + (n * pixels * heads + h) * width;
      float* sums;
      if constexpr (kDirect) sums = out;
      else sums = ctx.scratch_as<float>(size_t(pixels * width), size_t(slot * pixels * width) * sizeof(float));
      for (int64_t p = begin; p < end; p++) std::memset(sums + p * column, 0, size_t(width) * sizeof(float));
      const Points points(*this, in, first, last, column);
      Footprint f;
      for (int64_t i = 0; i < queries; i++) {
        const Query q(in, n, i, h);
        const float* const locations = q.locations + 2 * first * per_level;
        const float* const weights = q.weights + first * per_level;
        const T* const d = dy + q.index * width;
        for_vectors(points.count, [&](int64_t from, auto m) {
          points.footprints(locations, from, m, f);
          for (int k = 0; k < m; k++)
            scatter<0>(f, k, width, sums, [&](int64_t c, auto w) {
              return splat(weights[from + k]) * load_n(d + c, w);
            });
        });
      }
      if constexpr (!kDirect)
        for (int64_t p = begin; p < end; p++)
          for_vectors(width, [&](int64_t c, auto w) {
            store_n(out + p * heads * width + c, load_n(sums + p * width + c, w), w);
          });
    });
  });
}

}  // namespace dr
