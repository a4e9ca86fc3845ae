#include "kernels/attention/attention.h"
#include "kernels/attention/rows.h"

namespace dr {
namespace DR_ISA {
namespace {

// One share of a head's forward pass: blocks of query rows `part`, part + parts, ...
template <class T>
void forward_head(const Attention& op, const Attention::In& in, const Attention::Out& out, const HeadShape& s,
                  const ForwardBuffers& buffer, int64_t sample, int64_t head, int64_t part, int64_t parts) {
  const int64_t length = in.q.size(1);
  const HeadRows<const T> q = head_rows<const T>(in.q, sample, head), k = head_rows<const T>(in.k, sample, head),
                          v = head_rows<const T>(in.v, sample, head);
  for (int64_t f = 0; f < s.frames; f++) pack_panels(k, f * s.tokens, s, buffer.key_panels + f * s.panel());
  pack_rows(v, 0, length, s, buffer.value_rows);
  const int64_t row = (sample * in.q.size(2) + head) * length;
  int64_t block = 0;
  for (int64_t f = 0; f < s.frames; f++) {
    const VisibleFrames visible = op.mask.visible(f, s.frames);
    for (int64_t r = 0; r < s.tokens; r += buffer.block_rows, block++) {
      if (block % parts != part) continue;
      const int64_t rows = s.tokens - r < buffer.block_rows ? s.tokens - r : buffer.block_rows;
      const int64_t begin = f * s.tokens + r;
      forward_block(q, head_rows<T>(out.y, sample, head), begin, rows, visible, s, op.scale_for(s.width), buffer,
                    out.max.as<float>() + row + begin, out.den.as<float>() + row + begin);
    }
  }
}

// Chains over queries, for the keys of one frame: `rows` more queries see them. a is p or ds, its columns these keys;
// b holds rows of the queries. Sums of the chunk under way lie in `chunk`, of the chunks before it in `total`.
void chain_over_queries(int64_t rows, int64_t seen, const float* a, int64_t ld, const float* b, const HeadShape& s,
                        float* total, float* chunk) {
  const int64_t row = s.row();
  for (int64_t done = 0; done < rows;) {
    const int64_t in_chunk = (seen + done) % kChainChunk;
    const int64_t depth = rows - done < kChainChunk - in_chunk ? rows - done : kChainChunk - in_chunk;
    chain_product<true>(s.tokens, row / W, depth, a + done * ld, ld, b + done * row, row, chunk, row, in_chunk > 0);
    done += depth;
    if ((seen + done) % kChainChunk == 0) add_rows(total, chunk, s.tokens * row, seen + done == kChainChunk);
  }
}

// The sums of one frame of keys, its last chunk added.
template <class T>
void finish_keys(int64_t seen, float* total, float* chunk, float scale, HeadRows<T> out, int64_t begin,
                 const HeadShape& s) {
  const bool open = seen % kChainChunk != 0;
  if (open && seen > kChainChunk) add_rows(total, chunk, s.tokens * s.row(), false);
  store_rows(open && seen < kChainChunk ? chunk : total, scale, out, begin, s.tokens, s);
}

template <class T>
void backward_head(const Attention& op, const Attention::In& in, const Attention::Out& saved, const View& dy_view,
                   const Attention::Grad& grad, const HeadShape& s, const BackwardBuffers& buffer, int64_t sample,
                   int64_t head) {
  const int64_t length = in.q.size(1), ld = s.score_stride(), row = s.row();
  const float scale = op.scale_for(s.width);
  const HeadRows<const T> q = head_rows<const T>(in.q, sample, head), k = head_rows<const T>(in.k, sample, head),
                          v = head_rows<const T>(in.v, sample, head), dy = head_rows<const T>(dy_view, sample, head);
  for (int64_t f = 0; f < s.frames; f++) {
    pack_panels(k, f * s.tokens, s, buffer.key_panels + f * s.panel());
    pack_panels(v, f * s.tokens, s, buffer.value_panels + f * s.panel());
    buffer.seen[f] = 0;
  }
  if (grad.q) pack_rows(k, 0, length, s, buffer.key_rows);
  const int64_t first_row = (sample * in.q.size(2) + head) * length;
  const float* const max = saved.max.as<float>() + first_row;
  const float* const den = saved.den.as<float>() + first_row;

  for (int64_t f = 0; f < s.frames; f++) {
    const VisibleFrames visible = op.mask.visible(f, s.frames);
    const int64_t keys = visible.frames() * s.tokens;
    for (int64_t r0 = 0; r0 < s.tokens; r0 += buffer.block_rows) {
      const int64_t rows = s.tokens - r0 < buffer.block_rows ? s.tokens - r0 : buffer.block_rows;
      const int64_t begin = f * s.tokens + r0;
      pack_rows(q, begin, rows, s, buffer.q);
      pack_rows(dy, begin, rows, s, buffer.dy);
      score_block(rows, buffer.q, buffer.key_panels, visible, s, buffer.p, ld);
      score_block(rows, buffer.dy, buffer.value_panels, visible, s, buffer.ds, ld);
      for (int64_t r = 0; r < rows; r++) {
        float* const p = buffer.p + r * ld;
        float* const ds = buffer.ds + r * ld;  // dp until delta is known
        const f32v sc = splat(scale), m = splat(max[begin + r]);
        const RowDivisor divide(den[begin + r]);
        const f32v delta = splat(row_reduce(keys, [&](f32v& acc, int64_t i, auto n) {
          const f32v pi = divide(exp(sc * load_n(p + i, n) - m));
          store_n(p + i, pi, n);
          acc = fma(keep(pi, n), load_n(ds + i, n), acc);
        }));
        for_vectors(keys, [&](int64_t i, auto n) {
          store_n(ds + i, load_n(p + i, n) * (load_n(ds + i, n) - delta), n);
        });
      }
      if (grad.q) {
        chain_over_keys(rows, buffer.ds, ld, buffer.key_rows, visible, s, buffer.dq, buffer.dq_chunk);
        store_rows(buffer.dq, scale, head_rows<T>(grad.q, sample, head), begin, rows, s);
      }
      int64_t column = 0;
      for (const FrameRange& range : visible)
        for (int64_t g = range.begin; g < range.end; g++, column += s.tokens) {
          const int64_t at = g * s.tokens * row;
          auto add = [&](const float* a, const float* b, float* total, float* chunk) {
            chain_over_queries(rows, buffer.seen[g], a + column, ld, b, s, total + at, chunk + at);
          };
          if (grad.v) add(buffer.p, buffer.dy, buffer.dv, buffer.dv_chunk);
          if (grad.k) add(buffer.ds, buffer.q, buffer.dk, buffer.dk_chunk);
          buffer.seen[g] += int32_t(rows);
        }
    }
  }
  for (int64_t g = 0; g < s.frames; g++) {
    auto finish = [&](float* total, float* chunk, float factor, const View& out) {
      const int64_t begin = g * s.tokens, at = begin * row;
      finish_keys(buffer.seen[g], total + at, chunk + at, factor, head_rows<T>(out, sample, head), begin, s);
    };
    if (grad.v) finish(buffer.dv, buffer.dv_chunk, 1.f, grad.v);
    if (grad.k) finish(buffer.dk, buffer.dk_chunk, scale, grad.k);
  }
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void Attention::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const HeadShape s = head_shape(mask, in.q.size(1), in.q.size(3));
  const int64_t heads = in.q.size(2), items = in.q.size(0) * heads;
  if (items == 0 || s.frames == 0) return;
  const int64_t parts = shares_of_a_head(items, ctx.threads());
  with_float_type(in.q.dtype, [&]<class T>(T*) {
    for_each_item(ctx, items * parts, [&](int64_t i, int64_t slot) {
      const int64_t item = i / parts;
      const ForwardBuffers buffer = buffers_of<ForwardBuffers>(ctx, s, slot);
      forward_head<T>(*this, in, out, s, buffer, item / heads, item % heads, i % parts, parts);
    });
  });
}

template <>
void Attention::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                   const Grad& grad) const {
  const HeadShape s = head_shape(mask, in.q.size(1), in.q.size(3));
  const int64_t heads = in.q.size(2), items = in.q.size(0) * heads;
  if (items == 0 || s.frames == 0) return;
  with_float_type(in.q.dtype, [&]<class T>(T*) {
    for_each_item(ctx, items, [&](int64_t i, int64_t slot) {
      const BackwardBuffers buffer = buffers_of<BackwardBuffers>(ctx, s, slot);
      backward_head<T>(*this, in, saved, dy.y, grad, s, buffer, i / heads, i % heads);
    });
  });
}

}  // namespace dr
