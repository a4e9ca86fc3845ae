#include "kernels/percentile_ema/percentile_ema.h"
#include "kernels/percentile_ema/percentile_ema_math.h"

#include "kernels/core/gpu_elementwise.h"
#include "kernels/core/total_order.h"

namespace dr {
namespace DR_BACKEND {
namespace {

// Both percentiles are found byte by byte: a pass counts the values whose higher bytes are those found, by their next
// byte.
using Selection = PercentileEma::Selection;
using Chosen = Selection::Chosen;
constexpr int kPasses = Selection::kPasses, kBins = Selection::kBins;

DR_DEVICE uint32_t unsigned_key(float v) { return uint32_t(order_key(v)) ^ 0x80000000u; }
DR_DEVICE float from_unsigned_key(uint32_t key) { return from_order_key(int32_t(key ^ 0x80000000u)); }

struct Clear {
  Selection* s;
  DR_DEVICE void operator()(int64_t i) const {
    reinterpret_cast<uint32_t*>(s->counts)[i] = 0;
    if (i == 0) s->next[0] = s->next[1] = 0xffffffffu, s->nan = 0;
  }
};

struct Ranks {
  uint32_t of[2];
};

// One more byte of percentile q, from the counts of the pass before; by a group, all of whose lanes get it. `equal`:
// how many values have what is found.
DR_DEVICE Chosen choose(const Selection* s, const Ranks& ranks, int pass, int q, uint32_t& equal) {
  if (pass == 0) return {0, ranks.of[q]};
  constexpr int kEach = kBins / kGroup;
  const Chosen before = s->chosen[pass - 1][q];
  const uint32_t* const counts = s->counts[pass - 1][q] + lane_index() * kEach;
  uint32_t own = 0;
  DR_UNROLL
  for (int i = 0; i < kEach; i++) own += counts[i];
  uint32_t up_to = own;  // inclusive, over the lanes
  for (int offset = 1; offset < kGroup; offset *= 2) {
    const uint32_t lower = shuffle(up_to, lane_index() < offset ? 0 : lane_index() - offset);
    if (lane_index() >= offset) up_to += lower;
  }
  // The bin in which the rank falls lies with one lane.
  const bool mine = up_to - own <= before.rank && before.rank < up_to;
  uint32_t below = up_to - own, bin = 0, here = 0;
  for (int i = 0; mine && i < kEach; i++) {
    here = counts[i], bin = uint32_t(lane_index() * kEach + i);
    if (before.rank < below + here) break;
    below += here;
  }
  const uint32_t owner = ballot(mine);
  int lane = 0;
  while (lane < kGroup - 1 && !(owner >> lane & 1)) lane++;
  equal = shuffle(here, lane);
  return {before.prefix | shuffle(bin, lane) << (8 * (kPasses - pass)), before.rank - shuffle(below, lane)};
}

struct PassShared {
  uint32_t counts[2][kBins];
  Chosen chosen[2];
  uint32_t equal[2];
};

DR_KERNEL void count_pass(int64_t n, const float* values, Ranks ranks, int pass, Selection* selection) {
  auto& s = shared_memory<PassShared>();
  for (int i = thread_index(); i < kBins; i += block_threads()) s.counts[0][i] = s.counts[1][i] = 0;
  if (const int q = group_index(); q < 2) {
    const Chosen c = choose(selection, ranks, pass, q, s.equal[q]);
    if (lane_index() == 0) {
      s.chosen[q] = c;
      if (block_index().x == 0) selection->chosen[pass][q] = c;
    }
  }
  block_sync();  // the counts are clear, the bytes chosen
  const int shift = 8 * (kPasses - 1 - pass);
  for (int64_t i = global_thread(); i < n; i += int64_t(grid_size().x) * block_threads()) {
    const uint32_t key = unsigned_key(values[i]);
    if (pass == 0 && key == unsigned_key(from_order_key(kNanKey))) atomic_max(&selection->nan, 1u);
    for (int q = 0; q < 2; q++)
      if (pass == 0 || (key ^ s.chosen[q].prefix) >> (shift + 8) == 0)
        atomic_add(&s.counts[q][key >> shift & (kBins - 1)], 1u);
  }
  block_sync();  // the block has counted
  for (int i = thread_index(); i < 2 * kBins; i += block_threads())
    if (const uint32_t c = s.counts[i / kBins][i % kBins])
      atomic_add(&selection->counts[pass][i / kBins][i % kBins], c);
}

// The least key above each percentile's.
DR_KERNEL void find_next(int64_t n, const float* values, Ranks ranks, Selection* selection) {
  auto& s = shared_memory<PassShared>();
  if (const int q = group_index(); q < 2) {
    const Chosen c = choose(selection, ranks, kPasses, q, s.equal[q]);
    if (lane_index() == 0) s.chosen[q] = c;
  }
  block_sync();  // the keys are there
  uint32_t next[2] = {0xffffffffu, 0xffffffffu};
  for (int64_t i = global_thread(); i < n; i += int64_t(grid_size().x) * block_threads()) {
    const uint32_t key = unsigned_key(values[i]);
    DR_UNROLL
    for (int q = 0; q < 2; q++)
      if (key > s.chosen[q].prefix && key < next[q]) next[q] = key;
  }
  DR_UNROLL
  for (int q = 0; q < 2; q++)
    if (next[q] != 0xffffffffu) atomic_min(&selection->next[q], next[q]);
}

// By one group.
DR_KERNEL void take_up(PercentileEma op, Ranks ranks, float fraction0, float fraction1, const Selection* s,
                       const float* state, float* state_out, float* percentiles, float* scale) {
  float p[2];
  DR_UNROLL
  for (int q = 0; q < 2; q++) {
    uint32_t equal = 0;
    const Chosen c = choose(s, ranks, kPasses, q, equal);
    const float v = from_unsigned_key(c.prefix), next = c.rank + 1 < equal ? v : from_unsigned_key(s->next[q]);
    p[q] = s->nan ? from_order_key(kNanKey) : percentile_between(v, next, q ? fraction1 : fraction0);
  }
  if (lane_index() != 0) return;
  float moved[2] = {state[0], state[1]};
  *scale = take_up_percentiles(op, p, moved);
  DR_UNROLL
  for (int q = 0; q < 2; q++) state_out[q] = moved[q], percentiles[q] = p[q];
}

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void PercentileEma::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t n = in.values.count();
  CHECK(n <= UINT32_MAX, "percentile_ema: {} values; accepted: up to 2^32 - 1", n);
  const Position first(low, n), second(high, n);
  const Ranks ranks{{uint32_t(first.i), uint32_t(second.i)}};
  const float* const values = in.values.as<float>();
  Selection* const s = ctx.scratch_as<Selection>(1);
  const LaunchShape shape{
      .grid = {std::min(blocks_for(n, 8 * kBlock), 512u)}, .threads = kBlock, .shared = sizeof(PassShared)};
  for_each(ctx, kPasses * 2 * kBins, Clear{s});
  for (int pass = 0; pass < kPasses; pass++) launch<count_pass>(ctx, shape, n, values, ranks, pass, s);
  launch<find_next>(ctx, shape, n, values, ranks, s);
  launch<take_up>(ctx, {}, *this, ranks, first.fraction, second.fraction, s, in.state.as<float>(),
                  out.state.as<float>(), out.percentiles.as<float>(), out.scale.as<float>());
}

}  // namespace dr
