#include "kernels/attention_decode/attention_decode.h"
#include "kernels/attention/rows.h"

namespace dr {
namespace DR_ISA {
namespace {

// One share of a head: the visible frames are laid out in logical order, so that the mask is one range.
template <class T>
void decode_head(const AttentionDecode& op, const AttentionDecode::In& in, const AttentionDecode::Out& out,
                 const HeadShape& s, const ForwardBuffers& buffer, int64_t sample, int64_t head, int64_t part,
                 int64_t parts) {
  const int32_t* const order = in.order.as<int32_t>();
  const int64_t frames = order[0];
  for (int64_t f = 0; f < frames; f++) {
    const HeadRows<const T> k = head_rows<const T>(in.k.slice(1, order[1 + f], 1), sample, head),
                            v = head_rows<const T>(in.v.slice(1, order[1 + f], 1), sample, head);
    pack_panels(k, 0, s, buffer.key_panels + f * s.panel());
    pack_rows(v, 0, s.tokens, s, buffer.value_rows + f * s.tokens * s.row());
  }
  VisibleFrames visible;
  visible.add(0, frames);
  const HeadRows<const T> q = head_rows<const T>(in.q, sample, head);
  const HeadRows<T> y = head_rows<T>(out.y, sample, head);
  int64_t block = 0;
  for (int64_t r = 0; r < s.tokens; r += buffer.block_rows, block++) {
    if (block % parts != part) continue;
    const int64_t rows = s.tokens - r < buffer.block_rows ? s.tokens - r : buffer.block_rows;
    forward_block(q, y, r, rows, visible, s, op.scale_for(s.width), buffer, nullptr, nullptr);
  }
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void AttentionDecode::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const HeadShape s = shape(in);
  const int64_t heads = in.q.size(2), items = in.q.size(0) * heads;
  const int32_t* const order = in.order.as<int32_t>();
  CHECK(order[0] >= 1 && order[0] <= s.frames, "attention_decode: order counts {} frames, 1 to {} are possible",
        order[0], s.frames);
  for (int i = 1; i <= order[0]; i++)
    CHECK(order[i] >= 0 && order[i] < in.k.size(1), "attention_decode: order names slot {}, the cache has {}", order[i],
          in.k.size(1));
  if (items == 0 || s.tokens == 0) return;
  const int64_t parts = shares_of_a_head(items, ctx.threads());
  with_float_type(in.q.dtype, [&]<class T>(T*) {
    for_each_item(ctx, items * parts, [&](int64_t i, int64_t slot) {
      const int64_t item = i / parts;
      const ForwardBuffers buffer = buffers_of<ForwardBuffers>(ctx, s, slot);
      decode_head<T>(*this, in, out, s, buffer, item / heads, item % heads, i % parts, parts);
    });
  });
}

}  // namespace dr
