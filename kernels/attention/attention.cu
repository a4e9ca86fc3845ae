#include "kernels/attention/attention.h"

#include "kernels/attention/gpu_rows.h"

namespace dr {
namespace DR_BACKEND {
namespace {

using Keys = MaskedKeys;

// ---- backward, row by row: s becomes p, dp becomes ds ----

struct BackwardRow {
  float *p, *ds;  // ds null: p alone is wanted
  int64_t ld;
  Problems<Keys> problems;
  const float *max, *den;
  DR_DEVICE void operator()(int64_t r) const {
    const int count = problems.keys.seen(int(r / problems.keys.tokens % problems.keys.frames)).count;
    const int64_t at = problems.row(problems.first, 0, 0) + r;
    const float m = max[at], d = den[at];
    float *const p_row = p + r * ld, *const ds_row = ds + r * ld;
    if (!ds) {
      for (int i = lane_index(); i < count; i += kGroup) p_row[i] = exp(p_row[i] - m) / d;
      return;
    }
    const float delta = row_reduce(count, [&](float& acc, int64_t i) {
      const float v = exp(p_row[i] - m) / d;
      p_row[i] = v;
      acc = fma(v, ds_row[i], acc);
    });
    for (int i = lane_index(); i < count; i += kGroup) ds_row[i] = p_row[i] * (ds_row[i] - delta);
  }
};

// ---- chains over queries: a frame of keys, by the number of the queries that see it ----

struct QueriesOf {
  struct First {
    Problems<Keys>::Problem problem;
    Keys::SeenBy seen_by;
    int64_t start;
  };
  Problems<Keys> problems;
  Divisor tokens;
  struct Query {
    int frame, row;
  };
  DR_DEVICE Query query(const Keys::SeenBy& s, int64_t number) const {
    const auto [frame, row] = tokens(uint32_t(number));
    return {int(frame) < s.size ? s.begin + int(frame) : s.second + int(frame) - s.size, int(row)};
  }
};
// p or ds, (key, query number).
struct WeightsOfKeys : QueriesOf {
  const float* data;
  int64_t ld;
  DR_DEVICE First batch(int64_t i) const {
    const auto p = problems(i);
    return {p, problems.keys.seen_by(p.frame), 0};
  }
  DR_DEVICE float operator()(const First& first, int64_t m, int64_t k) const {
    const Query q = query(first.seen_by, k);
    const int64_t row = problems.row(first.problem.in_wave, q.frame, q.row);
    return data[row * ld + problems.keys.number(q.frame, first.problem.frame) + m];
  }
};
// q or dy, (query number, d).
struct RowsOfQueries : QueriesOf {
  HeadTensor t;
  DR_DEVICE First batch(int64_t i) const {
    const auto p = problems(i);
    return {p, problems.keys.seen_by(p.frame), problems.start(t, p)};
  }
  DR_DEVICE float operator()(const First& first, int64_t k, int64_t d) const {
    const Query q = query(first.seen_by, k);
    return t.load(first.start + (int64_t(q.frame) * problems.keys.tokens + q.row) * t.token + d);
  }
};
struct QueriesShape : GemmShape {
  Problems<Keys> problems;
  DR_DEVICE GemmShape of(int64_t i) const {
    GemmShape s = *this;
    s.k = int64_t(problems.keys.seen_by(problems(i).frame).count) * problems.keys.tokens;
    return s;
  }
};

// The gradient of a wave's queries in f32, (head, L, D), as a tensor like q; `data` is that of the wave's first head.
HeadTensor queries_of_wave(const View& q, const Problems<Keys>& p, float* data) {
  const int64_t head = q.size(1) * q.size(3);
  View v(data - p.first * head, DType::f32, q.sizes);
  v.strides = {q.size(2) * head, q.size(3), head, 1};
  return HeadTensor(v);
}
struct MoveQueries {
  const float* from;
  Problems<Keys> problems;
  int64_t length, width;
  HeadTensor to;
  DR_DEVICE void operator()(int64_t i) const {
    const int64_t d = i % width, token = i / width % length, item = problems.first + i / width / length;
    to.store(item / problems.heads * to.sample + item % problems.heads * to.head + token * to.token + d, from[i]);
  }
};

// f(problems, heads) for wave after wave. The emulator's are short, so that small tests have several.
template <class F>
void for_each_wave(const View& q, const FrameMask& mask, const DeviceHeads& room, F&& f) {
#if defined(DR_BACKEND_simt)
  const int64_t wave = std::min<int64_t>(room.wave, 3);
#else
  const int64_t wave = room.wave;
#endif
  const int64_t heads = q.size(0) * q.size(2);
  if (q.size(1) == 0) return;
  for (int64_t first = 0; first < heads; first += wave)
    f(Problems<Keys>{Keys(mask, q.size(1)), q.size(2), first}, std::min(wave, heads - first));
}

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void Attention::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const DeviceHeads room = device_heads(in, false);
  const int64_t length = in.q.size(1), width = in.q.size(3), keys = head_shape(mask, length, width).keys;
  float *const scores = ctx.scratch_as<float>(size_t(room.floats(room.wave))), *const den = out.den.as<float>();
  const GemmScratch scratch = gemm_scratch(ctx, room.bytes());
  for_each_wave(in.q, mask, room, [&](const Problems<Keys>& p, int64_t heads) {
    score_product(ctx, p, heads, width, keys, HeadTensor(in.q), HeadTensor(in.k), scale_for(width), scores, room.ld);
    for_rows(ctx, heads * length, SoftmaxScores<Keys>{scores, room.ld, p, out.max.as<float>(), den});
    chain_over_keys(ctx, p, heads, width, keys, scores, room.ld, den, HeadTensor(in.v), 1, HeadTensor(out.y), scratch);
  });
}

template <>
void Attention::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                   const Grad& grad) const {
  if (!grad.q && !grad.k && !grad.v) return;
  const DeviceHeads room = device_heads(in, true);
  const int64_t length = in.q.size(1), width = in.q.size(3), keys = head_shape(mask, length, width).keys;
  const float factor = scale_for(width);
  float* const p = ctx.scratch_as<float>(size_t(room.floats(room.wave)));
  float* const ds = grad.q || grad.k ? p + room.wave * room.matrix : nullptr;
  float* const dq = p + 2 * room.wave * room.matrix;
  const GemmScratch scratch = gemm_scratch(ctx, room.bytes());
  const HeadTensor q(in.q), k(in.k), v(in.v), d(dy.y);
  for_each_wave(in.q, mask, room, [&](const Problems<Keys>& problems, int64_t heads) {
    score_product(ctx, problems, heads, width, keys, q, k, factor, p, room.ld);
    if (ds) score_product(ctx, problems, heads, width, keys, d, v, 1, ds, room.ld);
    for_rows(ctx, heads * length, BackwardRow{p, ds, room.ld, problems, saved.max.as<float>(), saved.den.as<float>()});

    // Where dq takes the place of q, the chains of dk must have read that before.
    const bool later = grad.q && grad.k && grad.q.data == in.q.data;
    if (grad.q)
      chain_over_keys(ctx, problems, heads, width, keys, ds, room.ld, nullptr, k, factor,
                      later ? queries_of_wave(in.q, problems, dq) : HeadTensor(grad.q), scratch);
    const auto chain_over_queries = [&](const float* weights, const HeadTensor& rows, float scale_, const View& to) {
      QueriesShape shape{{.batch = heads * problems.keys.frames, .m = problems.keys.tokens, .n = width, .k = length,
                          .a_along_k = false, .b_along_k = false}, problems};
      const QueriesOf queries{problems, Divisor(problems.keys.tokens)};
      gemm(ctx, shape, WeightsOfKeys{queries, weights, room.ld}, RowsOfQueries{queries, rows},
           StoreFrameRows<Keys>{{HeadTensor(to), problems}, scale_}, scratch);
    };
    if (grad.v) chain_over_queries(p, d, 1, grad.v);
    if (grad.k) chain_over_queries(ds, q, factor, grad.k);
    if (later) for_each(ctx, heads * length * width, MoveQueries{dq, problems, length, width, HeadTensor(grad.q)});
  });
}

}  // namespace dr
