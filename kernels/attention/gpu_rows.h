#pragma once
// Attention on a device: what attention and attention_decode share, so that decoding a frame and a pass over the whole
// sequence do the same operations. All rows of a frame see the same keys, so a frame of one head is a problem of dense
// products: scores, and chains over keys, with as many keys as that frame sees. Scores lie in scratch between the two,
// (head of the wave, row, key number), for a wave of heads at a time. Last include of a `.cu`, as gpu.h.
//
// Keys says which those are: keys.frames, the frames of queries; keys.tokens, the queries of one; keys.seen(frame), an
// object with their `count`; keys.place(seen, n), where key number n lies.

#include "kernels/attention/layout.h"

#include "kernels/core/gpu_divide.h"
#include "kernels/core/gpu_gemm.h"
#include "kernels/core/gpu_rows.h"
#include "kernels/core/math.h"

namespace dr::DR_BACKEND {

// Of a sequence under a mask: ranges of tokens, as FrameMask::visible has them of frames.
struct MaskedKeys {
  int frames, tokens, anchors, window, targets;

  MaskedKeys(const FrameMask& mask, int64_t length)
      : frames(int(mask.frames(length))), tokens(int(mask.frame_tokens(length))), anchors(mask.anchors),
        window(mask.window), targets(mask.targets) {}

  struct Seen {
    int first, past, past_at, self_at, count;  // keys of the first range; of the second, and where; where its own lie
  };
  // The frame before whose past frame `frame`, no anchor, lies; and the first frame of that.
  DR_DEVICE int original(int frame) const { return frame >= frames - targets ? frame - targets : frame; }
  DR_DEVICE int oldest(int frame) const {
    const int clean = original(frame);
    return window < 0 || clean - window < anchors ? anchors : clean - window;
  }
  DR_DEVICE Seen seen(int frame) const {
    if (frame < anchors) return {(frame + 1) * tokens, 0, 0, 0, (frame + 1) * tokens};
    const int begin = oldest(frame), past = original(frame) - begin;
    return {anchors * tokens, past * tokens, begin * tokens, frame * tokens, (anchors + past + 1) * tokens};
  }
  struct Place {
    int slot, token;
  };
  DR_DEVICE Place place(const Seen& s, int n) const {
    if (n < s.first) return {0, n};
    n -= s.first;
    return {0, n < s.past ? s.past_at + n : s.self_at + n - s.past};
  }
  // The number that queries of frame `frame` give to the first key of frame `key`, which they see.
  DR_DEVICE int number(int frame, int key) const {
    if (key < anchors) return key * tokens;
    if (key == frame) return seen(frame).count - tokens;
    return (anchors + key - oldest(frame)) * tokens;
  }

  // The frames that see a frame, in order: two ranges of frames.
  struct SeenBy {
    int begin, size, second, count;
  };
  DR_DEVICE SeenBy seen_by(int key) const {
    const int clean = frames - targets;  // where the noised copies begin
    if (key < anchors) return {key, frames - key, 0, frames - key};
    if (key >= clean) return {key, 1, 0, 1};
    const int last = window < 0 || key + window > clean - 1 ? clean - 1 : key + window;
    const int copied = key + 1 > clean - targets ? key + 1 : clean - targets;  // the first whose noised copy sees it
    const int size = last - key + 1, copies = last - copied + 1;
    return {key, size, copied + targets, size + (copies > 0 ? copies : 0)};
  }
};

// A tensor of heads: (B,L,H,D), or the slots (B,N,S,H,D) of a cache.
struct HeadTensor {
  void* data;
  bool is_bf16;
  int64_t sample, slot, token, head;  // strides

  explicit HeadTensor(const View& v)
      : data(v.data), is_bf16(v.dtype == DType::bf16), sample(v.stride(0)), slot(v.rank() == 5 ? v.stride(1) : 0),
        token(v.stride(-3)), head(v.stride(-2)) {}
  DR_DEVICE float load(int64_t at) const {
    return is_bf16 ? load1(static_cast<const bf16*>(data) + at) : load1(static_cast<const float*>(data) + at);
  }
  DR_DEVICE void store(int64_t at, float v) const {
    if (is_bf16) store1(static_cast<bf16*>(data) + at, v);
    else store1(static_cast<float*>(data) + at, v);
  }
};

// Problem i of a wave: a frame of one of its heads.
template <class Keys>
struct Problems {
  Keys keys;
  int64_t heads, first;  // heads of a sample; the wave's first of all samples'

  struct Problem {
    int64_t in_wave, item, sample, head;
    int frame;
  };
  DR_DEVICE Problem operator()(int64_t i) const {
    const int64_t in_wave = i / keys.frames, item = first + in_wave;
    return {in_wave, item, item / heads, item % heads, int(i % keys.frames)};
  }
  DR_DEVICE int64_t start(const HeadTensor& t, const Problem& p) const { return p.sample * t.sample + p.head * t.head; }
  // A row of scores.
  DR_DEVICE int64_t row(int64_t in_wave, int frame, int64_t m) const {
    return (in_wave * keys.frames + frame) * keys.tokens + m;
  }
};

// ---- operands ----

// A frame's queries, or what is like them: (row, d).
template <class Keys>
struct FrameRows {
  HeadTensor t;
  Problems<Keys> problems;
  DR_DEVICE int64_t batch(int64_t i) const {
    const auto p = problems(i);
    return problems.start(t, p) + int64_t(p.frame) * problems.keys.tokens * t.token;
  }
  DR_DEVICE float operator()(int64_t first, int64_t m, int64_t d) const { return t.load(first + m * t.token + d); }
};
// scale times the sums, rounded.
template <class Keys>
struct StoreFrameRows : FrameRows<Keys> {
  float scale;
  DR_DEVICE void operator()(int64_t first, int64_t m, int64_t d, float v) const {
    this->t.store(first + m * this->t.token + d, scale * v);
  }
};

// The keys that a frame sees, or their values, by number.
template <class Keys>
struct SeenRows {
  struct First {
    int64_t start;
    typename Keys::Seen seen;
  };
  HeadTensor t;
  Problems<Keys> problems;
  DR_DEVICE First batch(int64_t i) const {
    const auto p = problems(i);
    return {problems.start(t, p), problems.keys.seen(p.frame)};
  }
  DR_DEVICE float at(const First& first, int64_t n, int64_t d) const {
    const auto place = problems.keys.place(first.seen, int(n));
    return t.load(first.start + place.slot * t.slot + place.token * t.token + d);
  }
};
template <class Keys>
struct SeenColumns : SeenRows<Keys> {  // (d, key number)
  DR_DEVICE float operator()(const auto& first, int64_t d, int64_t n) const { return this->at(first, n, d); }
};
template <class Keys>
struct SeenValues : SeenRows<Keys> {  // (key number, d)
  DR_DEVICE float operator()(const auto& first, int64_t n, int64_t d) const { return this->at(first, n, d); }
};

// Scores of a frame's queries: (row, key number). As an operand, over the rows' denominators unless they are null.
template <class Keys>
struct Scores {
  float* data;
  int64_t ld;
  Problems<Keys> problems;
  float scale = 1;
  const float* den = nullptr;  // by item, then row
  struct First {
    int64_t row, den;
  };
  DR_DEVICE First batch(int64_t i) const {
    const auto p = problems(i);
    return {problems.row(p.in_wave, p.frame, 0), problems.row(p.item, p.frame, 0)};
  }
  DR_DEVICE float operator()(const First& first, int64_t m, int64_t n) const {
    const float v = data[(first.row + m) * ld + n];
    return den ? v / den[first.den + m] : v;
  }
  DR_DEVICE void operator()(const First& first, int64_t m, int64_t n, float v) const {
    data[(first.row + m) * ld + n] = scale * v;
  }
};

// ---- products ----

// Scores, or with kChains chains over keys: of each frame as many keys as it sees.
template <class Keys, bool kChains>
struct FrameShape : GemmShape {
  Problems<Keys> problems;
  DR_DEVICE GemmShape of(int64_t i) const {
    GemmShape s = *this;
    (kChains ? s.k : s.n) = problems.keys.seen(problems(i).frame).count;
    return s;
  }
};

// scores = scale * q k.
template <class Keys>
void score_product(const Context& ctx, const Problems<Keys>& p, int64_t items, int64_t width, int64_t most_keys,
                   const HeadTensor& q, const HeadTensor& k, float scale, float* scores, int64_t ld) {
  FrameShape<Keys, false> shape{{.batch = items * p.keys.frames, .m = p.keys.tokens, .n = most_keys, .k = width,
                                 .a_along_k = true, .b_along_k = true}, p};
  gemm(ctx, shape, FrameRows<Keys>{q, p}, SeenColumns<Keys>{{k, p}}, Scores<Keys>{scores, ld, p, scale});
}

// out = scale * the chains of scores / den along the values of the keys.
template <class Keys>
void chain_over_keys(const Context& ctx, const Problems<Keys>& p, int64_t items, int64_t width, int64_t most_keys,
                     float* scores, int64_t ld, const float* den, const HeadTensor& values, float scale,
                     const HeadTensor& out, const GemmScratch& scratch) {
  FrameShape<Keys, true> shape{{.batch = items * p.keys.frames, .m = p.keys.tokens, .n = width, .k = most_keys,
                                .a_along_k = true, .b_along_k = false}, p};
  gemm(ctx, shape, Scores<Keys>{scores, ld, p, 1, den}, SeenValues<Keys>{{values, p}},
       StoreFrameRows<Keys>{{out, p}, scale}, scratch);
}

// ---- rows ----

// The largest element: +0 where that is a zero, NaN if any is, -inf for none.
template <class F>
DR_DEVICE float largest_score(int count, F&& at) {
  float best = -__builtin_inff();
  bool nan = false;
  for (int i = lane_index(); i < count; i += kGroup) {
    const float v = at(i);
    best = v > best ? v : best;
    nan |= v != v;
  }
  for (int offset = 16; offset > 0; offset /= 2) {
    const float other = shuffle_xor(best, offset);
    best = other > best ? other : best;
  }
  return any(nan) ? __builtin_nanf("") : best + 0.f;
}

// s becomes exp(s - max); max, unless it is null, and den are written.
template <class Keys>
struct SoftmaxScores {
  float* scores;
  int64_t ld;
  Problems<Keys> problems;
  float *max, *den;  // by item, then row
  DR_DEVICE void operator()(int64_t r) const {
    const int64_t frame = r / problems.keys.tokens;
    const int count = problems.keys.seen(int(frame % problems.keys.frames)).count;
    float* const s = scores + r * ld;
    const float m = largest_score(count, [&](int i) { return s[i]; });
    const float sum = row_reduce(count, [&](float& acc, int64_t i) {
      const float e = exp(s[i] - m);
      s[i] = e;
      acc = acc + e;
    });
    if (lane_index() != 0) return;
    const int64_t at = problems.row(problems.first, 0, 0) + r;
    if (max) max[at] = m;
    den[at] = sum;
  }
};

}  // namespace dr::DR_BACKEND
