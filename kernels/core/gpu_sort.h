#pragma once
// Items in ascending order of an integer key on a device, equal keys in ascending order of their items: what a sum over
// scattered items needs to have one order. A radix sort, eight bits of the key a pass: count the digits of each tile of
// items, add up where each digit of each tile begins, and move the items there. Nothing depends on the order of
// threads. Last include of a `.cu`, as gpu.h.

#include <bit>

#include "kernels/core/sort_size.h"

#include "kernels/core/gpu_elementwise.h"

namespace dr::DR_BACKEND {

// Item item[i] has key key[i]; keys ascend.
struct SortedItems {
  const uint32_t *key, *item;
  int64_t count;

  // Where a key's items begin; the next key's items begin where they end.
  DR_DEVICE int64_t first(uint32_t k) const {
    int64_t begin = 0, end = count;
    while (begin < end) {
      const int64_t middle = (begin + end) / 2;
      if (key[middle] < k) begin = middle + 1;
      else end = middle;
    }
    return begin;
  }
};

namespace sort_detail {

inline constexpr int kDigits = SortSize::kDigits, kThreads = 256, kGroups = kThreads / kGroup;
static_assert(kThreads == kDigits);  // each has a digit to look after

// The sum over the threads of the block before this one.
struct BlockScan {
  uint32_t group[kGroups];
  DR_DEVICE uint32_t operator()(uint32_t value, uint32_t& total) {
    uint32_t sum = value;  // of the lanes up to this one
    for (int step = 1; step < kGroup; step *= 2) {
      const int from = lane_index() - step;
      const uint32_t other = shuffle(sum, from < 0 ? 0 : from);
      if (from >= 0) sum += other;
    }
    if (lane_index() == kGroup - 1) group[group_index()] = sum;
    block_sync();  // the groups' sums are there
    uint32_t before = 0;
    total = 0;
    for (int g = 0; g < kGroups; g++) {
      if (g < group_index()) before += group[g];
      total += group[g];
    }
    block_sync();  // all have read them
    return before + sum - value;
  }
};

template <class F>
struct Keys {
  uint32_t* key;
  F f;
  DR_DEVICE void operator()(int64_t i) const { key[i] = f(i); }
};

// counts[d][tile]: the tile's items that have digit d.
template <int kRounds>
DR_KERNEL void count_digits(const uint32_t* key, int64_t count, int shift, uint32_t* counts) {
  struct Shared {
    uint32_t of[kDigits];
  };
  auto& s = shared_memory<Shared>();
  s.of[thread_index()] = 0;
  block_sync();
  const int64_t first = int64_t(block_index().x) * (kThreads * kRounds);
  for (int r = 0; r < kRounds; r++)
    if (const int64_t i = first + r * kThreads + thread_index(); i < count)
      atomic_add(&s.of[key[i] >> shift & (kDigits - 1)], 1u);
  block_sync();
  counts[int64_t(thread_index()) * grid_size().x + block_index().x] = s.of[thread_index()];
}

// Block d: counts[d] becomes what the tiles before have of digit d, totals[d] what all have.
template <int kThreads>
DR_KERNEL void add_up_tiles(int64_t tiles, uint32_t* counts, uint32_t* totals) {
  auto& scan = shared_memory<BlockScan>();
  uint32_t* const row = counts + int64_t(block_index().x) * tiles;
  uint32_t before = 0;
  for (int64_t first = 0; first < tiles; first += kThreads) {
    const int64_t i = first + thread_index();
    const uint32_t value = i < tiles ? row[i] : 0;
    uint32_t total;
    const uint32_t sum = scan(value, total);
    if (i < tiles) row[i] = before + sum;
    before += total;
  }
  if (thread_index() == 0) totals[block_index().x] = before;
}

// A group moves items that lie side by side, 32 a round, so that their order stays. item null: the items are 0, 1, ...
template <int kRounds>
DR_KERNEL void move_items(const uint32_t* key, const uint32_t* item, int64_t count, int shift, const uint32_t* before,
                          const uint32_t* totals, uint32_t* key_to, uint32_t* item_to) {
  struct Shared {
    uint32_t next[kGroups][kDigits];  // where a group's next item of a digit goes, at first counted from its own first
    BlockScan scan;
  };
  auto& s = shared_memory<Shared>();
  for (int g = 0; g < kGroups; g++) s.next[g][thread_index()] = 0;
  block_sync();
  uint32_t* const next = s.next[group_index()];
  const int64_t first = (int64_t(block_index().x) * kGroups + group_index()) * (kGroup * kRounds) + lane_index();
  uint32_t keys[kRounds], rank[kRounds];
  DR_UNROLL
  for (int r = 0; r < kRounds; r++) {
    const bool there = first + r * kGroup < count;
    keys[r] = there ? key[first + r * kGroup] : 0;
    const uint32_t digit = keys[r] >> shift & (kDigits - 1);
    uint32_t same = ballot(there);  // the lanes that have this lane's digit
    DR_UNROLL
    for (int b = 0; b < 8; b++) {
      const uint32_t set = ballot(digit >> b & 1);
      same &= digit >> b & 1 ? set : ~set;
    }
    const uint32_t so_far = next[digit], lower = same & ((1u << lane_index()) - 1);
    group_sync();  // all have read
    rank[r] = so_far + uint32_t(std::popcount(lower));
    if (there && lower == 0) next[digit] = so_far + uint32_t(std::popcount(same));
    group_sync();  // the round is counted
  }
  block_sync();  // all groups have counted
  const int d = thread_index();
  uint32_t total;
  uint32_t at = s.scan(totals[d], total) + before[int64_t(d) * grid_size().x + block_index().x];
  for (int g = 0; g < kGroups; g++) {
    const uint32_t own = s.next[g][d];
    s.next[g][d] = at;
    at += own;
  }
  block_sync();  // every digit of every group has its place
  DR_UNROLL
  for (int r = 0; r < kRounds; r++) {
    const int64_t i = first + r * kGroup;
    if (i >= count) continue;
    const uint32_t to = next[keys[r] >> shift & (kDigits - 1)] + rank[r];
    key_to[to] = keys[r];
    item_to[to] = item ? item[i] : uint32_t(i);
  }
}

}  // namespace sort_detail

// Items 0 .. count - 1, item i with the key f(i) < keys. Scratch: SortSize::bytes, from byte `scratch` on.
template <class F>
SortedItems sort_items(const Context& ctx, int64_t count, int64_t keys, const F& f, size_t scratch) {
  using namespace sort_detail;
  CHECK(count <= INT32_MAX && keys <= UINT32_MAX, "{} items of {} keys are too many to be sorted", count, keys);
  constexpr int kRounds = int(SortSize::kTile) / kThreads;
  uint32_t* const all = ctx.scratch_as<uint32_t>(SortSize::words(count), scratch);
  uint32_t *key = all, *item = all + count, *other_key = all + 2 * count, *other_item = all + 3 * count;
  if (count == 0) return {key, item, 0};
  uint32_t* const totals = all + 4 * count;
  uint32_t* const counts = totals + kDigits;
  for_each(ctx, count, Keys<F>{key, f});
  const unsigned blocks = blocks_for(count, SortSize::kTile);
  bool numbered = false;
  for (int shift = 0; shift == 0 || (keys - 1) >> shift > 0; shift += 8) {
    const uint32_t* const from = numbered ? item : nullptr;
    launch<count_digits<kRounds>>(ctx, {.grid = {blocks}, .threads = kThreads, .shared = kDigits * sizeof(uint32_t)},
                         static_cast<const uint32_t*>(key), count, shift, counts);
    launch<add_up_tiles<kThreads>>(ctx, {.grid = {kDigits}, .threads = kThreads, .shared = sizeof(BlockScan)},
                                   int64_t{blocks}, counts, totals);
    launch<move_items<kRounds>>(ctx, {.grid = {blocks}, .threads = kThreads,
                             .shared = (kGroups * kDigits + kGroups) * sizeof(uint32_t)},
                       static_cast<const uint32_t*>(key), from, count, shift, static_cast<const uint32_t*>(counts),
                       static_cast<const uint32_t*>(totals), other_key, other_item);
    std::swap(key, other_key), std::swap(item, other_item);
    numbered = true;
  }
  return {key, item, count};
}

}  // namespace dr::DR_BACKEND
