#pragma once
// Places sorted by key on a device, stably: of places with one key the lower comes first, so that whoever adds up a
// key's places in this order adds them in ascending order. A counting sort by a few bits of the keys at a time, from the
// lowest up: each tile of a list counts its digits, sums of the counts say where each tile's places with a digit begin,
// and the tile puts them there in order. Last include of a `.cu`, as gpu.h.

#include "kernels/core/place_sort.h"

#include "kernels/core/gpu_elementwise.h"

namespace dr::DR_BACKEND {

// data[b * n + i] becomes the sum of data[b * n ..] before i. A block of any size a list.
template <class T>
struct ScanShared {
  T group[kGroup];
};
template <class T>
DR_KERNEL void sums_before(int64_t n, T* data) {
  auto& s = shared_memory<ScanShared<T>>();
  T* const list = data + int64_t(block_index().x) * n;
  const int lane = lane_index();
  T before = 0;
  for (int64_t base = 0; base < n; base += block_threads()) {
    const int64_t i = base + thread_index();
    const T own = i < n ? list[i] : 0;
    T sum = own;  // over the lanes up to this one
    for (int offset = 1; offset < kGroup; offset *= 2) {
      const T lower = shuffle(sum, lane < offset ? lane : lane - offset);
      if (lane >= offset) sum += lower;
    }
    if (lane == kGroup - 1) s.group[group_index()] = sum;
    block_sync();  // the sums of all groups are there
    T lower = before;
    for (int g = 0; g < block_groups(); g++) {
      if (g < group_index()) lower += s.group[g];
      before += s.group[g];
    }
    if (i < n) list[i] = lower + sum - own;
    block_sync();  // all have read them
  }
}

namespace sort_detail {

inline constexpr int kDigits = 1 << PlaceSort::kMostBits;

struct Pass {
  int64_t count, tiles;  // of a list
  int shift, bits;       // of the keys' digit

  struct Tile {
    int64_t list, begin, end, counts;  // begin and end: among the pairs of all lists; counts: of digit 0
  };
  DR_DEVICE Tile tile() const {
    const int64_t list = int64_t(block_index().x) / tiles, t = int64_t(block_index().x) % tiles;
    const int64_t begin = t * PlaceSort::kTile, past = begin + PlaceSort::kTile, end = past < count ? past : count;
    return {list, list * count + begin, list * count + end, (list << bits) * tiles + t};
  }
  DR_DEVICE int digit(int32_t key) const { return key >> shift & ((1 << bits) - 1); }
};

struct CountShared {
  int32_t of[kDigits];
};
template <int kThreads>
DR_KERNEL void count_digits(Pass p, const int32_t* keys, int32_t* counts) {
  auto& s = shared_memory<CountShared>();
  const Pass::Tile t = p.tile();
  for (int d = thread_index(); d < 1 << p.bits; d += kThreads) s.of[d] = 0;
  block_sync();  // all are zero
  for (int64_t i = t.begin + thread_index(); i < t.end; i += kThreads) atomic_add(&s.of[p.digit(keys[i])], 1);
  block_sync();  // all are counted
  for (int d = thread_index(); d < 1 << p.bits; d += kThreads) counts[t.counts + d * p.tiles] = s.of[d];
}

template <int kGroups>
struct MoveShared {
  int32_t next[kDigits];         // where the tile's next place with a digit goes
  int32_t of[kGroups][kDigits];  // how many a group has; then where its first goes
};
// `begins`: the sums before count_digits' counts. places null: place i is i.
template <int kThreads>
DR_KERNEL void move_by_digit(Pass p, const int32_t* begins, const int32_t* keys, const int32_t* places,
                             int32_t* keys_to, int32_t* places_to) {
  constexpr int kGroups = kThreads / kGroup;
  auto& s = shared_memory<MoveShared<kGroups>>();
  const Pass::Tile t = p.tile();
  const int group = group_index(), digits = 1 << p.bits;
  for (int d = thread_index(); d < digits; d += kThreads) s.next[d] = begins[t.counts + d * p.tiles];
  for (int64_t base = t.begin; base < t.end; base += kThreads) {
    for (int d = lane_index(); d < digits; d += kGroup) s.of[group][d] = 0;
    group_sync();  // the group's counts are zero
    const int64_t i = base + thread_index();
    const bool here = i < t.end;
    const int32_t key = here ? keys[i] : 0;
    const int digit = p.digit(key);
    uint32_t same = ballot(here);  // the lanes with this digit
    for (int b = 0; b < p.bits; b++) {
      const bool one = digit >> b & 1;
      const uint32_t ones = ballot(one);
      same &= one ? ones : ~ones;
    }
    const int rank = count_bits(same & ((1u << lane_index()) - 1));
    if (here && rank == 0) s.of[group][digit] = count_bits(same);
    block_sync();  // every group has counted
    for (int d = thread_index(); d < digits; d += kThreads) {
      int32_t at = s.next[d];
      for (int g = 0; g < kGroups; g++) {
        const int32_t n = s.of[g][d];
        s.of[g][d] = at;
        at += n;
      }
      s.next[d] = at;
    }
    block_sync();  // every group knows where its places go
    if (here) {
      const int64_t to = t.list * p.count + s.of[group][digit] + rank;
      keys_to[to] = key;
      places_to[to] = places ? places[i] : int32_t(i - t.list * p.count);
    }
    group_sync();  // the group has read its counts
  }
}

}  // namespace sort_detail

struct SortedPlaces {
  const int32_t *keys, *places;
};

// The scratch of a sort: the caller writes each place's key to `keys`, list after list, before it calls sort_places.
struct SortScratch {
  int32_t *keys, *places, *other_keys, *other_places, *counts;
  SortScratch(const PlaceSort& s, int32_t* words)
      : keys(words), places(keys + s.pairs()), other_keys(places + s.pairs()), other_places(other_keys + s.pairs()),
        counts(other_places + s.pairs()) {}
};

// The places 0 .. count - 1 of each list, by key; in either half of the scratch.
inline SortedPlaces sort_places(const Context& ctx, const PlaceSort& s, const SortScratch& scratch) {
  using namespace sort_detail;
  constexpr int kThreads = 256;
  SortScratch from = scratch;
  if (s.pairs() == 0) return {from.keys, from.places};
  const unsigned tiles = blocks_for(s.lists * s.tiles(), 1);
  const int64_t per_list = s.tiles() << s.digit_bits();
  for (int pass = 0; pass < s.passes(); pass++) {
    const Pass p{s.count, s.tiles(), pass * s.digit_bits(), s.digit_bits()};
    launch<count_digits<kThreads>>(ctx, {.grid = {tiles}, .threads = kThreads, .shared = sizeof(CountShared)}, p,
                         static_cast<const int32_t*>(from.keys), from.counts);
    launch<sums_before<int32_t>>(ctx, {.grid = {blocks_for(s.lists, 1)}, .threads = per_list > 2048 ? 1024u : 256u,
                                       .shared = sizeof(ScanShared<int32_t>)}, per_list, from.counts);
    launch<move_by_digit<kThreads>>(ctx, {.grid = {tiles}, .threads = kThreads, .shared = sizeof(MoveShared<kThreads / kGroup>)}, p,
                          static_cast<const int32_t*>(from.counts), static_cast<const int32_t*>(from.keys),
                          static_cast<const int32_t*>(pass == 0 ? nullptr : from.places), from.other_keys,
                          from.other_places);
    std::swap(from.keys, from.other_keys);
    std::swap(from.places, from.other_places);
  }
  return {from.keys, from.places};
}

}  // namespace dr::DR_BACKEND
