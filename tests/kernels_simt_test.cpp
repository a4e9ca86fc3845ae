// The emulator proven: kernels with one fault each, which it must find, and beside each the same kernel without the
// fault, in which it must find nothing. kBroken is the mutant.
//
// A kernel reads x, 512 integers, and writes y, one integer a thread. It runs under several orders of threads and
// blocks, with 32 and 64 lanes, and with two fills of shared memory, of y and of what lies behind x and y.

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/core/gpu.h"

namespace dr::simt {
namespace {

constexpr int kInputs = 512, kGuard = 64;
constexpr unsigned kThreads = 64;  // of a block: two groups
using Expected = int32_t (*)(const int32_t* x, int i);

struct NamedOrder {
  const char* name;
  emulator::Settings settings;
};
const std::vector<NamedOrder>& orders() {
  using emulator::Order;
  static const std::vector<NamedOrder> list = {{"identity", {.order = Order::identity}},
                                               {"reverse", {.order = Order::reverse}},
                                               {"seed 1", {.order = Order::seeded, .seed = 1}},
                                               {"seed 2", {.order = Order::seeded, .seed = 2}},
                                               {"seed 3", {.order = Order::seeded, .seed = 3}}};
  return list;
}

int32_t fill_of(const emulator::Settings& s) { return int32_t(s.poison * 0x01010101u); }
void write_inputs(int32_t* x) {
  for (int i = 0; i < kInputs; i++) x[i] = i * i % 251 + i;
}

// What lies in y and behind it after one run.
template <auto Kernel>
std::vector<int32_t> outputs(const LaunchShape& shape, const emulator::Settings& settings) {
  struct alignas(16) Line { int32_t v[4]; };  // as aligned as a device's memory
  const auto memory = [&](size_t n) {
    const int32_t fill = fill_of(settings);
    return std::vector<Line>(n / 4, Line{fill, fill, fill, fill});
  };
  const size_t count = shape.grid.x * shape.threads;
  std::vector<Line> in = memory(kInputs + kGuard), out = memory(count + kGuard);
  int32_t *const x = in[0].v, *const y = out[0].v;
  write_inputs(x);
  emulator::settings() = settings;
  launch<Kernel>(Context{}, shape, static_cast<const int32_t*>(x), y);
  return {y, y + count + kGuard};
}

// What is found: "" where every run gives what is expected; the emulator's report; or "outputs differ: ..." with two
// settings of the same kind, all else equal, that give other outputs; or "outputs are wrong", the same ones every time.
template <auto Kernel>
std::string finding(const LaunchShape& shape, Expected expected) {
  std::map<std::tuple<int, int, int>, std::vector<int32_t>> runs;  // by order, lanes, fill
  const int lanes[] = {32, 64};
  const uint8_t fills[] = {0xff, 0x3c};
  try {
    for (int o = 0; o < int(orders().size()); o++)
      for (int l = 0; l < 2; l++)
        for (int f = 0; f < 2; f++) {
          emulator::Settings s = orders()[size_t(o)].settings;
          s.lanes = lanes[l], s.poison = fills[f];
          std::vector<int32_t> y = outputs<Kernel>(shape, s);
          for (size_t i = y.size() - kGuard; i < y.size(); i++)
            if (y[i] != fill_of(s)) return format("y[{}] is written, of {}", i, y.size() - kGuard);
          y.resize(y.size() - kGuard);
          runs[{o, l, f}] = std::move(y);
        }
  } catch (const Error& e) {
    return e.what();
  }
  std::string order, lane, fill;
  for (const auto& [key, y] : runs) {
    const auto [o, l, f] = key;
    if (order.empty() && y != runs[{0, l, f}]) order = format(" order identity and {};", orders()[size_t(o)].name);
    if (lane.empty() && y != runs[{o, 0, f}]) lane = " lanes 32 and 64;";
    if (fill.empty() && y != runs[{o, l, 0}]) fill = " fill 0xff and 0x3c;";
  }
  if (const std::string differ = order + lane + fill; !differ.empty()) return "outputs differ:" + differ;
  const std::vector<int32_t>& y = runs.begin()->second;
  int32_t x[kInputs];
  write_inputs(x);
  for (size_t i = 0; i < y.size(); i++)
    if (const int32_t e = expected(x, int(i)); y[i] != e)
      return format("outputs are wrong: y[{}] is {}, expected {}", i, y[i], e);
  return "";
}

// Where the mutant is the launch, both kernels are the same.
template <auto Broken, auto Twin>
void expect_found(const LaunchShape& broken, const LaunchShape& twin, Expected expected, const std::string& what) {
  const std::string found = finding<Broken>(broken, expected);
  EXPECT_NE(found.find(what), found.npos) << "found: '" << found << "'";
  if (found.starts_with("simt: ")) {
    EXPECT_NE(found.find(format("kernel {}", simt_detail::kernel_name<Broken>())), found.npos) << found;
  }
  EXPECT_EQ(finding<Twin>(twin, expected), "");
}
template <auto Broken, auto Twin>
void expect_found(const LaunchShape& shape, Expected expected, const std::string& what) {
  expect_found<Broken, Twin>(shape, shape, expected, what);
}

int at() { return int(global_thread()); }

// What most kernels compute.
constexpr int kTurn = 33;
int32_t turned(const int32_t* x, int i) {  // by 33 places within the block
  const int block = i / int(kThreads) * int(kThreads);
  return x[block + (i - block + kTurn) % int(kThreads)];
}
int32_t group_total(const int32_t* x, int i) {
  int32_t sum = 0;
  for (int l = 0; l < kGroup; l++) sum += x[i / kGroup * kGroup + l];
  return sum;
}
int32_t same(const int32_t* x, int i) { return x[i]; }

struct Tile {
  int32_t v[kThreads];
};
constexpr LaunchShape kTiled = {.grid = {2}, .threads = kThreads, .shared = sizeof(Tile)};
constexpr LaunchShape kPlain = {.grid = {2}, .threads = kThreads};

// ---- block_sync ----

template <bool kBroken>
void reads_before_the_barrier(const int32_t* x, int32_t* y) {
  auto& s = shared_memory<Tile>();
  s.v[thread_index()] = x[at()];
  if constexpr (!kBroken) block_sync();
  y[at()] = s.v[(thread_index() + kTurn) % int(kThreads)];
}
TEST(Emulator, FindsAMissingBarrierBetweenWriteAndRead) {
  expect_found<reads_before_the_barrier<true>, reads_before_the_barrier<false>>(kTiled, turned,
                                                                                 "outputs differ: order");
}

template <bool kBroken>
void overwrites_what_others_read(const int32_t* x, int32_t* y) {
  auto& s = shared_memory<Tile>();
  int32_t sum = 0;
  for (int k = 0; k < 4; k++) {
    s.v[thread_index()] = x[k * int(kThreads) + thread_index()];
    block_sync();
    sum += s.v[(thread_index() + kTurn) % int(kThreads)];
    if constexpr (!kBroken) block_sync();
  }
  y[at()] = sum;
}
TEST(Emulator, FindsAMissingBarrierBetweenReadAndNextWrite) {
  const auto expected = [](const int32_t* x, int i) {
    int32_t sum = 0;
    for (int k = 0; k < 4; k++) sum += x[k * int(kThreads) + (i + kTurn) % int(kThreads)];
    return sum;
  };
  expect_found<overwrites_what_others_read<true>, overwrites_what_others_read<false>>(kTiled, expected,
                                                                                       "outputs differ: order");
}

template <bool kBroken>
void barrier_for_one_group(const int32_t* x, int32_t* y) {
  auto& s = shared_memory<Tile>();
  s.v[thread_index()] = x[at()];
  if (!kBroken || group_index() == 0) block_sync();
  y[at()] = s.v[thread_index()];
}
TEST(Emulator, FindsABarrierThatOneGroupReaches) {
  expect_found<barrier_for_one_group<true>, barrier_for_one_group<false>>(
      kTiled, same, "waits for ever at tests/kernels_simt_test.cpp:");
}

void barrier_on_either_side(const int32_t* x, int32_t* y) {
  auto& s = shared_memory<Tile>();
  s.v[thread_index()] = x[at()];
  if (x[at()] % 2 == 0) {
    block_sync();
  } else {
    block_sync();
  }
  y[at()] = s.v[(thread_index() + kTurn) % int(kThreads)];
}
TEST(Emulator, FindsTwoBarriersWhereOneIsMeant) {
  expect_found<barrier_on_either_side, reads_before_the_barrier<false>>(kTiled, turned, "this one comes to block_sync");
}

template <bool kBroken>
void returns_before_the_barrier(const int32_t* x, int32_t* y) {
  auto& s = shared_memory<Tile>();
  const bool inside = thread_index() < 40;
  if (kBroken && !inside) return;
  if (inside) s.v[thread_index()] = x[at()];
  block_sync();
  y[at()] = inside ? s.v[39 - thread_index()] : 0;
}
TEST(Emulator, FindsAThreadThatReturnsBeforeABarrier) {
  const auto expected = [](const int32_t* x, int i) {
    const int t = i % int(kThreads);
    return t < 40 ? x[i - t + 39 - t] : 0;
  };
  expect_found<returns_before_the_barrier<true>, returns_before_the_barrier<false>>(kTiled, expected,
                                                                                    "thread 40 has ended");
}

template <bool kBroken>
void barrier_in_a_loop_of_unequal_length(const int32_t* x, int32_t* y) {
  for (int k = 0; k < (kBroken ? 1 + group_index() : 2); k++) block_sync();
  y[at()] = x[at()];
}
TEST(Emulator, FindsABarrierThatSomeReachMoreOften) {
  expect_found<barrier_in_a_loop_of_unequal_length<true>, barrier_in_a_loop_of_unequal_length<false>>(
      kPlain, same, "waits for ever");
}

// ---- shuffles, ballots, groups ----

template <bool kBroken>
void shuffles_half_a_group(const int32_t* x, int32_t* y) {
  int32_t v = x[at()];
  if (!kBroken || lane_index() < 16) v = shuffle(v, lane_index() ^ 1);
  y[at()] = v;
}
int32_t swapped(const int32_t* x, int i) { return x[i ^ 1]; }
TEST(Emulator, FindsAShuffleInDivergentCode) {
  expect_found<shuffles_half_a_group<true>, shuffles_half_a_group<false>>(
      kPlain, swapped, "shuffle, reached by 16 of threads 0 to 31");
}

template <bool kBroken>
void shuffles_from_the_next(const int32_t* x, int32_t* y) {
  y[at()] = shuffle(x[at()], kBroken ? lane_index() + 1 : (lane_index() + 1) % kGroup);
}
TEST(Emulator, FindsAShuffleFromALaneThatIsNotThere) {
  const auto next = [](const int32_t* x, int i) { return x[i / kGroup * kGroup + (i + 1) % kGroup]; };
  expect_found<shuffles_from_the_next<true>, shuffles_from_the_next<false>>(
      kPlain, next, "shuffle from lane 32; accepted: 0 to 31");
}

template <int kFirst, int kLast>
void butterfly(const int32_t* x, int32_t* y) {
  int32_t sum = x[at()];
  for (int offset = kFirst; offset >= kLast; offset /= 2) sum += shuffle_xor(sum, offset);
  y[at()] = sum;
}
TEST(Emulator, FindsAButterflyThatEndsEarly) {
  expect_found<butterfly<16, 2>, butterfly<16, 1>>(kPlain, group_total, "outputs are wrong");
}
TEST(Emulator, FindsAButterflyOverTwoGroups) {
  expect_found<butterfly<32, 1>, butterfly<16, 1>>(kPlain, group_total, "shuffle from lane 32");
}

template <bool kBroken>
void votes_where_it_is_true(const int32_t* x, int32_t* y) {
  const bool odd = x[at()] % 2 != 0;
  uint32_t votes = 0;
  if (!kBroken || odd) votes = ballot(odd);
  y[at()] = count_bits(votes);
}
TEST(Emulator, FindsABallotInDivergentCode) {
  const auto expected = [](const int32_t* x, int i) {
    int32_t odd = 0;
    for (int l = 0; l < kGroup; l++) odd += x[i / kGroup * kGroup + l] % 2;
    return odd;
  };
  expect_found<votes_where_it_is_true<true>, votes_where_it_is_true<false>>(kPlain, expected, "ballot, reached by");
}

template <bool kBroken>
void lanes_exchange(const int32_t* x, int32_t* y) {
  auto& s = shared_memory<Tile>();
  s.v[thread_index()] = x[at()];
  if constexpr (!kBroken) group_sync();
  y[at()] = s.v[thread_index() ^ 1];
}
TEST(Emulator, FindsAMissingGroupSync) {
  expect_found<lanes_exchange<true>, lanes_exchange<false>>(kTiled, swapped, "outputs differ: order");
}

// Half a wave of 64 is a group too.
template <bool kBroken>
void numbers_groups_by_waves(const int32_t* x, int32_t* y) {
  auto& s = shared_memory<Tile>();
  const int group = kBroken ? thread_index() / wave_lanes() : group_index();
  if (lane_index() == 0) s.v[group] = x[at()];
  block_sync();
  y[at()] = s.v[group];
}
TEST(Emulator, FindsAGroupThatIsTakenForAWave) {
  const auto first = [](const int32_t* x, int i) { return x[i / kGroup * kGroup]; };
  expect_found<numbers_groups_by_waves<true>, numbers_groups_by_waves<false>>(kTiled, first, "lanes 32 and 64");
}

// ---- named barriers: group 0 makes what group 1 takes ----

template <int kArriveId, int kArriveCount, int kSyncId, int kSyncCount>
void hands_over(const int32_t* x, int32_t* y) {
  auto& s = shared_memory<Tile>();
  if (group_index() == 0) {
    s.v[lane_index()] = x[at()];
    if constexpr (kArriveId > 0) named_arrive(kArriveId, kArriveCount);
    y[at()] = x[at()];
  } else {
    named_sync(kSyncId, kSyncCount);
    y[at()] = s.v[kGroup - 1 - lane_index()];
  }
}
constexpr auto handed_over = hands_over<1, 64, 1, 64>;
int32_t mirrored(const int32_t* x, int i) {
  const int t = i % int(kThreads);
  return t < kGroup ? x[i] : x[i - t + 2 * kGroup - 1 - t];
}
TEST(Emulator, FindsANamedBarrierOfTwoCounts) {
  expect_found<hands_over<1, 64, 1, 32>, handed_over>(kTiled, mirrored,
                                                      "barrier 1 is for 32 threads here and for 64 elsewhere");
}
TEST(Emulator, FindsANamedBarrierForMoreThreadsThanCome) {
  constexpr LaunchShape three_groups = {.grid = {1}, .threads = 96, .shared = sizeof(Tile)};
  const auto expected = [](const int32_t* x, int i) { return i < kGroup ? x[i] : x[kGroup - 1 - i % kGroup]; };
  expect_found<hands_over<1, 64, 1, 64>, hands_over<1, 96, 1, 96>>(three_groups, expected, "waits for ever");
}
TEST(Emulator, FindsANamedBarrierOfAnotherNumber) {
  expect_found<hands_over<1, 64, 2, 64>, handed_over>(kTiled, mirrored, "a named barrier");
}
TEST(Emulator, FindsAMissingArrival) {
  expect_found<hands_over<0, 64, 1, 64>, handed_over>(kTiled, mirrored, "a named barrier");
}

// ---- what is read and written ----

template <int kCount>
void sums_the_last_inputs(const int32_t* x, int32_t* y) {
  int32_t sum = 0;
  for (int k = 0; k < kCount; k++) sum += x[kInputs - kGroup + k];
  y[at()] = sum;
}
TEST(Emulator, FindsAReadBeyondATensor) {
  const auto last = [](const int32_t* x, int) { return group_total(x, kInputs - 1); };
  expect_found<sums_the_last_inputs<kGroup + 1>, sums_the_last_inputs<kGroup>>(kPlain, last, "outputs differ: fill");
}

template <int kCount>
void sums_a_tile(const int32_t* x, int32_t* y) {
  struct Half { int32_t v[kGroup], other[kGroup]; };  // a tile, and what lies behind it
  auto& s = shared_memory<Half>();
  if (group_index() == 0) s.v[lane_index()] = x[at()];
  block_sync();
  int32_t sum = 0;
  for (int k = 0; k < kCount; k++) sum += (&s.v[0])[k];
  y[at()] = sum;
}
TEST(Emulator, FindsAReadBeyondATile) {
  const auto expected = [](const int32_t* x, int i) { return group_total(x, i / int(kThreads) * int(kThreads)); };
  expect_found<sums_a_tile<kGroup + 1>, sums_a_tile<kGroup>>(kTiled, expected, "outputs differ: fill");
}

template <bool kBroken>
void writes_the_next(const int32_t* x, int32_t* y) {
  y[at()] = x[at()];
  if (kBroken) y[at() + 1] = x[at() + 1];
}
TEST(Emulator, FindsAWriteBeyondATensor) {
  expect_found<writes_the_next<true>, writes_the_next<false>>(kPlain, same, "y[128] is written");
}

template <bool kBroken>
void counts_from_nothing(const int32_t* x, int32_t* y) {
  auto& s = shared_memory<Tile>();
  if (!kBroken && thread_index() == 0) s.v[0] = 0;
  block_sync();
  atomic_add(&s.v[0], x[at()]);
  block_sync();
  y[at()] = s.v[0];
}
int32_t block_total(const int32_t* x, int i) {
  const int block = i / int(kThreads) * int(kThreads);
  return group_total(x, block) + group_total(x, block + kGroup);
}
TEST(Emulator, FindsSharedMemoryReadBeforeItIsWritten) {
  expect_found<counts_from_nothing<true>, counts_from_nothing<false>>(kTiled, block_total, "outputs differ: fill");
}

template <bool kBroken>
void leaves_the_last(const int32_t* x, int32_t* y) {
  if (!kBroken || at() + 1 < int(2 * kThreads)) y[at()] = x[at()];
}
TEST(Emulator, FindsAnOutputThatIsNotWritten) {
  expect_found<leaves_the_last<true>, leaves_the_last<false>>(kPlain, same, "outputs differ: fill");
}

// ---- races ----

template <bool kBroken>
void both_groups_write(const int32_t* x, int32_t* y) {
  auto& s = shared_memory<Tile>();
  if (lane_index() == 0 && (kBroken || group_index() == 0)) s.v[0] = x[at()];
  block_sync();
  y[at()] = s.v[0];
}
TEST(Emulator, FindsARaceBetweenGroups) {
  const auto first = [](const int32_t* x, int i) { return x[i / int(kThreads) * int(kThreads)]; };
  expect_found<both_groups_write<true>, both_groups_write<false>>(kTiled, first, "outputs differ: order");
}

template <bool kBroken>
void all_lanes_write(const int32_t* x, int32_t* y) {
  auto& s = shared_memory<Tile>();
  if (kBroken || lane_index() == kGroup - 1) s.v[group_index()] = x[at()];
  group_sync();
  y[at()] = s.v[group_index()];
}
TEST(Emulator, FindsARaceWithinAGroup) {
  const auto last = [](const int32_t* x, int i) { return x[i / kGroup * kGroup + kGroup - 1]; };
  expect_found<all_lanes_write<true>, all_lanes_write<false>>(kTiled, last, "outputs differ: order");
}

template <bool kBroken>
void blocks_share_an_output(const int32_t* x, int32_t* y) {
  y[at()] = 0;
  block_sync();
  if (kBroken || block_index().x == 0) y[thread_index() / kGroup] = x[at() / kGroup];
}
TEST(Emulator, FindsARaceBetweenBlocks) {
  const auto expected = [](const int32_t* x, int i) { return i < 2 ? x[i] : 0; };
  expect_found<blocks_share_an_output<true>, blocks_share_an_output<false>>(kPlain, expected, "outputs differ: order");
}

template <bool kBroken>
void reads_another_block(const int32_t* x, int32_t* y) {
  y[at()] = x[at()];
  if (kBroken && block_index().x > 0) y[at()] = y[at() - int(kThreads)] + int32_t(kThreads);
}
TEST(Emulator, FindsABlockThatCountsOnAnEarlierOne) {
  expect_found<reads_another_block<true>, reads_another_block<false>>(kPlain, same, "outputs differ: order");
}

template <bool kBroken>
void takes_a_number(const int32_t* x, int32_t* y) {
  auto& s = shared_memory<Tile>();
  if (thread_index() == 0) s.v[0] = 0;
  block_sync();
  const int32_t number = atomic_add(&s.v[0], 1);
  const int place = int(block_index().x * kThreads) + (kBroken ? number : thread_index());
  y[place] = x[at()];
}
TEST(Emulator, FindsAnOrderThatACounterLeaks) {
  expect_found<takes_a_number<true>, takes_a_number<false>>(kTiled, same, "outputs differ: order");
}

// Group 1 takes it that group 0 is ahead.
template <bool kBroken>
void trusts_that_group_0_is_first(const int32_t* x, int32_t* y) {
  auto& s = shared_memory<Tile>();
  if (group_index() == 0) s.v[lane_index()] = x[at()];
  if constexpr (kBroken) group_sync();
  else block_sync();
  y[at()] = s.v[lane_index()];
}
TEST(Emulator, FindsAnOrderOfGroupsThatIsTakenForGranted) {
  const auto expected = [](const int32_t* x, int i) { return x[i / int(kThreads) * int(kThreads) + i % kGroup]; };
  expect_found<trusts_that_group_0_is_first<true>, trusts_that_group_0_is_first<false>>(kTiled, expected,
                                                                                        "outputs differ: order");
}

// ---- asynchronous copies ----

template <bool kBroken>
void copies_without_waiting(const int32_t* x, int32_t* y) {
  auto& s = shared_memory<Tile>();
  async_copy<4>(&s.v[thread_index()], x + at());
  async_commit();
  if constexpr (!kBroken) async_wait<0>();
  block_sync();
  y[at()] = s.v[(thread_index() + kTurn) % int(kThreads)];
  if constexpr (kBroken) async_wait<0>();
}
TEST(Emulator, FindsACopyThatIsReadBeforeItIsWaitedFor) {
  expect_found<copies_without_waiting<true>, copies_without_waiting<false>>(kTiled, turned, "fill 0xff and 0x3c");
}

template <int kLeft>
void copies_in_two_stages(const int32_t* x, int32_t* y) {
  struct Stages { int32_t v[2][kThreads]; };
  auto& s = shared_memory<Stages>();
  const int t = thread_index(), other = (t + kTurn) % int(kThreads);
  for (int stage = 0; stage < 2; stage++) {
    async_copy<4>(&s.v[stage][t], x + stage * int(kThreads) + t);
    async_commit();
  }
  async_wait<1>();
  block_sync();
  int32_t sum = s.v[0][other];
  async_wait<kLeft>();
  block_sync();
  sum += s.v[1][other];
  y[at()] = sum;
  async_wait<0>();
}
TEST(Emulator, FindsAWaitThatLeavesAGroupTooMany) {
  constexpr LaunchShape shape = {.grid = {2}, .threads = kThreads, .shared = 2 * sizeof(Tile)};
  const auto expected = [](const int32_t* x, int i) {
    const int other = (i + kTurn) % int(kThreads);
    return x[other] + x[int(kThreads) + other];
  };
  expect_found<copies_in_two_stages<1>, copies_in_two_stages<0>>(shape, expected, "fill 0xff and 0x3c");
}

struct alignas(16) Four {
  int32_t v[4];
};
struct FourTile {
  Four v[kThreads];
};
constexpr LaunchShape kFour = {.grid = {1}, .threads = kThreads, .shared = sizeof(FourTile)};
int32_t first_of_four(const int32_t* x, int i) { return x[4 * i]; }

template <int kShift, bool kWaits>
void copies_four(const int32_t* x, int32_t* y) {
  auto& s = shared_memory<FourTile>();
  async_copy<16>(&s.v[thread_index()], x + 4 * thread_index() + kShift);
  async_commit();
  if constexpr (kWaits) async_wait<0>();
  y[at()] = kWaits ? s.v[thread_index()].v[0] : x[4 * thread_index()];
}
TEST(Emulator, FindsAMisalignedCopy) {
  expect_found<copies_four<1, true>, copies_four<0, true>>(kFour, first_of_four,
                                                           "an asynchronous copy of 16 bytes is not aligned to 16");
}
TEST(Emulator, FindsACopyThatNobodyWaitsFor) {
  expect_found<copies_four<0, false>, copies_four<0, true>>(kFour, first_of_four, "nobody waits for them");
}

// ---- vectors ----

template <int kShift>
void loads_four(const int32_t* x, int32_t* y) {
  y[at()] = load_vector<Four>(x + 4 * at() + kShift).v[0];
}
TEST(Emulator, FindsAMisalignedLoad) {
  expect_found<loads_four<2>, loads_four<0>>({.grid = {1}, .threads = kThreads}, first_of_four,
                                             "a load of 16 bytes is misaligned");
}

template <int kShift>
void stores_four(const int32_t* x, int32_t* y) {
  y[at()] = x[at()];
  block_sync();
  if (thread_index() < 8) store_vector(y + 4 * thread_index() + kShift, load_vector<Four>(x + 4 * thread_index()));
}
TEST(Emulator, FindsAMisalignedStore) {
  expect_found<stores_four<3>, stores_four<0>>({.grid = {1}, .threads = kThreads}, same,
                                               "a store of 16 bytes is misaligned");
}

// ---- launches ----

TEST(Emulator, FindsMoreSharedMemoryThanTheLaunchHas) {
  const LaunchShape small = {.grid = {2}, .threads = kThreads, .shared = sizeof(Tile) - 4};
  constexpr auto kernel = reads_before_the_barrier<false>;
  expect_found<kernel, kernel>(small, kTiled, turned, "256 bytes of shared memory are used, the launch has 252");
}
TEST(Emulator, FindsABlockOfNoWholeGroups) {
  constexpr auto kernel = leaves_the_last<false>;
  expect_found<kernel, kernel>({.grid = {2}, .threads = 48}, kPlain, same, "is launched with 48 threads");
}
TEST(Emulator, FindsAnEmptyGrid) {
  constexpr auto kernel = leaves_the_last<false>;
  expect_found<kernel, kernel>({.grid = {0}, .threads = kThreads}, kPlain, same, "is launched with grid (0,1,1)");
}

}  // namespace
}  // namespace dr::simt
