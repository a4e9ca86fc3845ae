#include "kernels/attention_decode/attention_decode.h"

#include "kernels/attention/gpu_rows.h"

namespace dr {
namespace DR_BACKEND {
namespace {

// The frames of a cache in their logical order.
struct CachedKeys {
  const int32_t* order;  // the number of frames, then their slots
  Divisor frame;
  int tokens, frames = 1;

  struct Seen {
    int count;
  };
  struct Place {
    int slot, token;
  };
  DR_DEVICE Seen seen(int) const { return {order[0] * tokens}; }
  DR_DEVICE Place place(const Seen&, int n) const {
    const auto [f, token] = frame(uint32_t(n));
    return {order[1 + f], int(token)};
  }
};

// `order`, as far as it counts; what cannot be becomes something that can.
struct CheckOrder {
  const int32_t* order;
  int32_t* checked;
  int most, slots;
  FaultSink fault;
  DR_DEVICE void operator()(int64_t i) const {
    const int count = order[0];
    if (i == 0) {
      const bool possible = count >= 1 && count <= most;
      if (!possible) fault.raise(count, 1, most);
      checked[0] = slots == 0 || count < 1 ? 0 : possible ? count : most;
    } else if (i <= count) {
      const int slot = order[i];
      const bool possible = slot >= 0 && slot < slots;
      if (!possible) fault.raise(slot, 0, slots - 1);
      checked[i] = possible ? slot : 0;
    }
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void AttentionDecode::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t tokens = in.q.size(1), heads = in.q.size(2), width = in.q.size(3), items = in.q.size(0) * heads;
  const int64_t most = in.order.size(0) - 1;
  int32_t* const order = ctx.scratch_as<int32_t>(size_t(most + 1));
  for_each(ctx, most + 1,
           CheckOrder{in.order.as<int32_t>(), order, int(most), int(in.k.size(1)), fault_sink(ctx, name)});
  if (items == 0 || tokens == 0) return;
  const DeviceHeads room = device_heads(in);
  size_t used = order_bytes(in);
  float* const den = ctx.scratch_as<float>(size_t(items * tokens), used);
  used += den_bytes(in);
  float* const scores = ctx.scratch_as<float>(size_t(room.floats(room.wave)), used);
  used += room.bytes();
  for (int64_t first = 0; first < items; first += room.wave) {
    const int64_t n = std::min(room.wave, items - first);
    const Problems<CachedKeys> problems{{order, Divisor(tokens), int(tokens)}, heads, first};
    score_product(ctx, problems, n, width, most * tokens, HeadTensor(in.q), HeadTensor(in.k), scale_for(width),
                  scores, room.ld);
    for_rows(ctx, n * tokens, SoftmaxScores<CachedKeys>{scores, room.ld, problems, nullptr, den});
    chain_over_keys(ctx, problems, n, width, most * tokens, scores, room.ld, den, HeadTensor(in.v), 1,
                    HeadTensor(out.y), gemm_scratch(ctx, used));
  }
}

}  // namespace dr
