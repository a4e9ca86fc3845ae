#include "kernels/core/simt/matrix.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "kernels/core/check.h"

namespace dr::emulator {
namespace {

constexpr unsigned kWarp = 32, kWave = 64, kWarpgroup = 128;

float low(uint32_t r) { return std::bit_cast<float>(r << 16); }
float high(uint32_t r) { return std::bit_cast<float>(r & 0xffff0000u); }
float element(const uint32_t* r, int i) { return i & 1 ? high(r[i / 2]) : low(r[i / 2]); }

// c + sum, rounded toward zero.
float add_truncated(float c, double sum) {
  const double exact = double(c) + sum;  // of two doubles: rounded once, far below an f32's last bit
  float f = float(exact);
  if (std::isfinite(f) && std::fabs(double(f)) > std::fabs(exact)) f = std::nextafter(f, 0.f);
  return f;
}

unsigned group_start(unsigned size) { return thread_index() / size * size; }

// ---- one warp ----

struct Mma {
  float* d;
  const uint32_t *a, *b;
};

// PTX: lane 4 g + t has rows g and g + 8, columns and k's 2 t, 2 t + 1 and those 8 further on.
void run_mma(std::span<void*> data, void*) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; lane++) {
    const Mma& m = *static_cast<Mma*>(data[size_t(lane)]);
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 8; i++) a[g + (i / 2 % 2) * 8][2 * t + i % 2 + i / 4 * 8] = element(m.a, i);
    for (int i = 0; i < 4; i++) b[2 * t + i % 2 + i / 2 * 8][g] = element(m.b, i);
  }
  for (int lane = 0; lane < 32; lane++) {
    const Mma& m = *static_cast<Mma*>(data[size_t(lane)]);
    for (int i = 0; i < 4; i++) {
      const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      double sum = 0;
      for (int k = 0; k < 16; k++) sum += double(a[row][k]) * double(b[k][column]);
      m.d[i] = add_truncated(m.d[i], sum);
    }
  }
}

// AMD CDNA 2 ISA, V_MFMA_F32_16X16X16_BF16_1K: lane l has row (of A) or column (of B) l % 16 and k's 4 (l / 16) to + 3, and
// of the result column l % 16, rows 4 (l / 16) to + 3.
void run_mfma(std::span<void*> data, void*) {
  float a[16][16], b[16][16];
  for (int lane = 0; lane < 64; lane++) {
    const Mma& m = *static_cast<Mma*>(data[size_t(lane)]);
    for (int i = 0; i < 4; i++) {
      a[lane % 16][lane / 16 * 4 + i] = element(m.a, i);
      b[lane / 16 * 4 + i][lane % 16] = element(m.b, i);
    }
  }
  for (int lane = 0; lane < 64; lane++) {
    const Mma& m = *static_cast<Mma*>(data[size_t(lane)]);
    for (int i = 0; i < 4; i++) {
      double sum = 0;
      for (int k = 0; k < 16; k++) sum += double(a[lane / 16 * 4 + i][k]) * double(b[k][lane % 16]);
      m.d[i] = add_truncated(m.d[i], sum);
    }
  }
}

struct MatrixRows {
  std::byte* row;
  uint32_t* r;
};

// The 16 bits of row i, column j of matrix m, by the addresses of all lanes.
uint16_t* matrix_element(std::span<void*> data, int m, int i, int j) {
  return reinterpret_cast<uint16_t*>(static_cast<MatrixRows*>(data[size_t(8 * m + i)])->row) + j;
}
template <bool kTransposed, bool kStore>
void move_matrices(std::span<void*> data, void*) {
  for (int lane = 0; lane < 32; lane++)
    for (int m = 0; m < 4; m++)
      for (int half = 0; half < 2; half++) {
        const int i = lane / 4, j = lane % 4 * 2 + half;
        uint16_t* const at = kTransposed ? matrix_element(data, m, j, i) : matrix_element(data, m, i, j);
        uint32_t& r = static_cast<MatrixRows*>(data[size_t(lane)])->r[m];
        if (kStore) *at = uint16_t(r >> 16 * half);
        else r = half ? r | uint32_t(*at) << 16 : *at;
      }
}
void check_matrix_row(const void* row, Site site) {
  if (reinterpret_cast<uintptr_t>(row) % 16) report("a matrix's row is not aligned to 16 bytes", site);
}

// ---- what a block has under way ----

struct Barrier {
  int count = 0, left = 0;  // arrivals of a phase, and those to come
  int64_t bytes = 0;        // to come
  int phase = 0;
  bool fenced = false;
};

struct WgmmaCall {
  Wgmma op;
  std::array<float*, kWarpgroup> d;
  std::array<std::array<uint32_t, 4>, kWarpgroup> a;
  Site site;
  bool done = false;
};

void run_wgmma(WgmmaCall& call);

struct Warpgroup {
  bool fenced = false;
  std::vector<WgmmaCall> open;
  std::deque<std::vector<WgmmaCall>> groups;

  void run_all() {  // in the order in which they were given
    for (std::vector<WgmmaCall>& group : groups)
      for (WgmmaCall& call : group) run_wgmma(call);
    for (WgmmaCall& call : open) run_wgmma(call);
  }
};

class Async final : public BlockState {
 public:
  std::vector<std::byte> view;  // shared memory as the async proxy sees it
  std::map<uint64_t*, Barrier> barriers;
  std::deque<std::function<void()>> loads;
  std::map<unsigned, std::vector<std::function<void()>>> open_stores;             // by thread
  std::map<unsigned, std::deque<std::vector<std::function<void()>>>> store_groups;
  std::map<unsigned, Warpgroup> warpgroups;
  uint64_t things = 0;

  Async() : view(all_shared_memory().size(), std::byte(settings().poison ^ 0x55)) {}

  bool advance() override {
    if (loads.empty()) return false;
    const std::function<void()> load = std::move(loads.front());
    loads.pop_front();
    load();
    return true;
  }
  std::string unfinished() const override {
    if (!loads.empty()) return format("{} bulk loads are under way and nobody waits for them", loads.size());
    for (const auto& [thread, groups] : store_groups)
      if (!groups.empty()) return format("bulk stores of thread {} are under way and it does not wait for them", thread);
    for (const auto& [thread, stores] : open_stores)
      if (!stores.empty()) return format("bulk stores of thread {} were not committed", thread);
    for (const auto& [first, group] : warpgroups)
      if (!group.open.empty() || !group.groups.empty())
        return format("wgmmas of the warpgroup of thread {} are under way and it does not wait for them", first);
    return "";
  }
};

Async& async() {
  if (!block_state()) block_state() = std::make_unique<Async>();
  return static_cast<Async&>(*block_state());
}

size_t offset_of(const void* shared, size_t bytes, Site site) {
  const std::span<std::byte> all = all_shared_memory();
  const auto* p = static_cast<const std::byte*>(shared);
  if (p < all.data() || p + bytes > all.data() + all.size())
    report(format("{} bytes are not in shared memory", bytes), site);
  return size_t(p - all.data());
}

// Two bytes that the async proxy reads.
uint16_t async_read(size_t offset, const char* what, Site site) {
  const std::span<std::byte> all = all_shared_memory();
  if (offset + 2 > all.size()) report(format("{} reads byte {} of {} bytes of shared memory", what, offset, all.size()), site);
  uint16_t seen, ordinary;
  std::memcpy(&seen, async().view.data() + offset, 2);
  std::memcpy(&ordinary, all.data() + offset, 2);
  if (seen != ordinary)
    report(format("{} reads byte {} of shared memory, which was written, or never was, without a fence_proxy_async behind it",
                  what, offset),
           site);
  return seen;
}

void complete(Barrier& b) {
  if (b.left == 0 && b.bytes == 0) b.phase++, b.left = b.count;
}

Barrier& barrier_at(uint64_t* p, Site site) {
  const auto it = async().barriers.find(p);
  if (it == async().barriers.end()) report("the mbarrier was not initialised", site);
  return it->second;
}

// 128-byte swizzle: the 16-byte chunk within 128 bytes is the exclusive or of itself and the number of the 128 bytes, modulo 8.
size_t swizzle(size_t address, bool swizzled) { return swizzled ? address ^ (address >> 7 & 7) << 4 : address; }

// f(shared offset, global address or null) for every element of a box.
template <class F>
void for_box(const TensorMap& map, const Coordinates& at, size_t offset, F&& f) {
  std::array<int, 5> i{};
  for (size_t linear = 0;; linear += size_t(map.element_bytes)) {
    std::byte* p = map.base;
    for (int a = 0; a < map.rank; a++) {
      const int64_t x = int64_t(at.c[a]) + i[size_t(a)];
      if (x < 0 || x >= map.sizes[a]) p = nullptr;
      if (p) p += x * map.strides[a];
    }
    f(swizzle(offset + linear, map.swizzled), p);
    int a = 0;
    for (; a < map.rank; a++) {
      if (++i[size_t(a)] < map.box[a]) break;
      i[size_t(a)] = 0;
    }
    if (a == map.rank) return;
  }
}

size_t box_bytes(const TensorMap& map) {
  size_t bytes = size_t(map.element_bytes);
  for (int a = 0; a < map.rank; a++) bytes *= size_t(map.box[a]);
  return bytes;
}

void check_box(const TensorMap& map, const void* shared, Site site) {
  const size_t align = map.swizzled ? 1024 : 128;  // of a box: the pattern must begin where a descriptor expects it
  const size_t offset = offset_of(shared, box_bytes(map), site);
  if (offset % align) report(format("a bulk copy's shared memory begins at byte {}; accepted: multiples of {}", offset, align), site);
}

// ---- wgmma ----

// Where element (i, k) of an operand lies: i along M or N. Descriptor: gpu_hopper.h.
size_t operand_offset(uint64_t descriptor, bool transposed, int i, int k, Site site) {
  const size_t start = (descriptor & 0x3fff) << 4, leading = (descriptor >> 16 & 0x3fff) << 4,
               stride = (descriptor >> 32 & 0x3fff) << 4;
  if (descriptor >> 62 != 1) report("a wgmma descriptor must have the 128-byte swizzle", site);
  // Eight rows of 128 bytes are a pattern; K lies along the 128 bytes, or, transposed, M or N does.
  const size_t linear = transposed ? size_t(i / 64) * leading + size_t(k / 8) * stride + size_t(k % 8) * 128 + size_t(i % 64) * 2
                                   : size_t(i / 8) * stride + size_t(i % 8) * 128 + size_t(k) * 2;
  return swizzle(start + linear, true);
}

void run_wgmma(WgmmaCall& c) {
  if (std::exchange(c.done, true)) return;
  const Wgmma& op = c.op;
  std::vector<float> a(64 * 16), b(size_t(op.n) * 16);
  for (int i = 0; i < 64; i++)
    for (int k = 0; k < 16; k++) {
      float& x = a[size_t(i * 16 + k)];
      if (op.a_registers) {
        const int row = i % 16, lane = i / 16 * 32 + row % 8 * 4 + k % 8 / 2;
        x = element(c.a[size_t(lane)].data(), row / 8 * 2 + k / 8 * 4 + k % 2);
      } else {
        x = std::bit_cast<float>(uint32_t{async_read(operand_offset(op.a, op.a_transposed, i, k, c.site), "wgmma", c.site)} << 16);
      }
    }
  for (int j = 0; j < op.n; j++)
    for (int k = 0; k < 16; k++)
      b[size_t(j * 16 + k)] =
          std::bit_cast<float>(uint32_t{async_read(operand_offset(op.b, op.b_transposed, j, k, c.site), "wgmma", c.site)} << 16);
  for (unsigned t = 0; t < kWarpgroup; t++)
    for (int i = 0; i < op.n / 2; i++) {
      const int row = int(t / 32) * 16 + int(t % 32 / 4) + i / 2 % 2 * 8, column = i / 4 * 8 + int(t % 4) * 2 + i % 2;
      double sum = 0;
      for (int k = 0; k < 16; k++) sum += double(a[size_t(row * 16 + k)]) * double(b[size_t(column * 16 + k)]);
      c.d[t][i] = add_truncated(op.accumulate ? c.d[t][i] : 0.f, sum);
    }
}

struct WgmmaPart {
  float* d;
  const Wgmma* op;
  Site site;
};

void begin_wgmma(std::span<void*> data, void* context) {
  Async& state = *static_cast<Async*>(context);
  WgmmaCall call;
  const WgmmaPart& first = *static_cast<WgmmaPart*>(data[0]);
  call.op = *first.op, call.site = first.site;
  for (size_t t = 0; t < kWarpgroup; t++) {
    const WgmmaPart& part = *static_cast<WgmmaPart*>(data[t]);
    if (part.op->a != call.op.a || part.op->b != call.op.b || part.op->accumulate != call.op.accumulate)
      report("the threads of a warpgroup give different descriptors to one wgmma", part.site);
    call.d[t] = part.d;
    if (part.op->a_registers) std::memcpy(call.a[t].data(), part.op->a_registers, sizeof call.a[t]);
  }
  Warpgroup& w = state.warpgroups[group_start(kWarpgroup)];
  w.open.push_back(std::move(call));
  if (happens_at_once(state.things++)) w.run_all();
}

void meet_warpgroup(const char* what, Site site, void* data = nullptr, Finish finish = nullptr, void* context = nullptr) {
  if (block_threads() % kWarpgroup) report(format("{} in a block of {} threads, which is no multiple of 128", what, block_threads()), site);
  meet(group_start(kWarpgroup), kWarpgroup, what, site, data, finish, context);
}

}  // namespace

void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Site site) {
  Mma mine{d, a, b};
  meet(group_start(kWarp), kWarp, "mma", site, &mine, run_mma);
}
void mfma_16x16x16(float (&d)[4], const uint32_t (&a)[2], const uint32_t (&b)[2], Site site) {
  if (block_threads() % kWave) report(format("mfma in a block of {} threads, which is no multiple of 64", block_threads()), site);
  Mma mine{d, a, b};
  meet(group_start(kWave), kWave, "mfma", site, &mine, run_mfma);
}
void ldmatrix_x4(uint32_t (&r)[4], const void* row, bool transposed, Site site) {
  check_matrix_row(row, site);
  (void)offset_of(row, 16, site);
  MatrixRows mine{static_cast<std::byte*>(const_cast<void*>(row)), r};
  meet(group_start(kWarp), kWarp, "ldmatrix", site, &mine, transposed ? move_matrices<true, false> : move_matrices<false, false>);
}
void stmatrix_x4(void* row, const uint32_t (&r)[4], bool transposed, Site site) {
  check_matrix_row(row, site);
  (void)offset_of(row, 16, site);
  MatrixRows mine{static_cast<std::byte*>(row), const_cast<uint32_t*>(r)};
  meet(group_start(kWarp), kWarp, "stmatrix", site, &mine, transposed ? move_matrices<true, true> : move_matrices<false, true>);
}

// ---- mbarriers ----

void mbarrier_init(uint64_t* barrier, int count, Site site) {
  if (offset_of(barrier, 8, site) % 8) report("an mbarrier is not aligned to 8 bytes", site);
  if (count < 1) report(format("an mbarrier for {} arrivals", count), site);
  async().barriers[barrier] = {.count = count, .left = count};
}
void mbarrier_fence_init() {
  for (auto& [p, b] : async().barriers) b.fenced = true;
}
void mbarrier_arrive(uint64_t* barrier, int bytes_to_come, Site site) {
  Barrier& b = barrier_at(barrier, site);
  if (b.left == 0) report("more arrivals at an mbarrier than it was initialised for", site);
  b.bytes += bytes_to_come;
  b.left--;
  complete(b);
}
void mbarrier_wait(uint64_t* barrier, int parity, Site site) {
  (void)barrier_at(barrier, site);
  const std::function<bool()> ended = [=] { return (async().barriers.at(barrier).phase & 1) != parity; };
  wait_until(ended, "an mbarrier", site);
}

// ---- bulk copies ----

void bulk_load(void* shared_to, const TensorMap& map, const Coordinates& at, uint64_t* barrier, Site site) {
  check_box(map, shared_to, site);
  if (!barrier_at(barrier, site).fenced)
    report("a bulk load's mbarrier was initialised without mbarrier_fence_init behind it", site);
  const size_t offset = offset_of(shared_to, box_bytes(map), site);
  std::function<void()> load = [map, at, offset, barrier] {
    std::byte* const shared = all_shared_memory().data();
    for_box(map, at, offset, [&](size_t to, const std::byte* from) {
      const size_t n = size_t(map.element_bytes);
      if (from) std::memcpy(shared + to, from, n);
      else std::memset(shared + to, 0, n);
      std::memcpy(async().view.data() + to, shared + to, n);
    });
    Barrier& b = async().barriers.at(barrier);
    b.bytes -= int64_t(box_bytes(map));
    complete(b);
  };
  if (happens_at_once(async().things++)) load();
  else async().loads.push_back(std::move(load));
}

void bulk_store(const TensorMap& map, const Coordinates& at, const void* shared_from, Site site) {
  check_box(map, shared_from, site);
  const size_t offset = offset_of(shared_from, box_bytes(map), site);
  std::function<void()> store = [map, at, offset, site] {
    for_box(map, at, offset, [&](size_t from, std::byte* to) {
      for (int i = 0; i < map.element_bytes; i += 2) {
        const uint16_t v = async_read(from + size_t(i), "a bulk store", site);
        if (to) std::memcpy(to + i, &v, 2);
      }
    });
  };
  if (happens_at_once(async().things++)) store(), store = nullptr;
  async().open_stores[thread_index()].push_back(std::move(store));
}
void bulk_commit() {
  auto& open = async().open_stores[thread_index()];
  async().store_groups[thread_index()].push_back(std::move(open));
  open.clear();
}
void bulk_wait(int groups_left) {
  auto& groups = async().store_groups[thread_index()];
  while (int(groups.size()) > groups_left) {
    for (const auto& store : groups.front())
      if (store) store();
    groups.pop_front();
  }
}

void fence_proxy_async() {
  const std::span<std::byte> all = all_shared_memory();
  std::memcpy(async().view.data(), all.data(), all.size());
}

// ---- wgmma ----

void wgmma(float* d, const Wgmma& op, Site site) {
  if (op.n % 8 || op.n < 8 || op.n > 256) report(format("wgmma with n = {}; accepted: multiples of 8 up to 256", op.n), site);
  WgmmaPart mine{d, &op, site};
  if (!async().warpgroups[group_start(kWarpgroup)].fenced)
    report("wgmma without a wgmma_fence since its accumulators could be written", site);
  meet_warpgroup("wgmma", site, &mine, begin_wgmma, &async());
}
void wgmma_fence(Site site) {
  meet_warpgroup("wgmma_fence", site);
  async().warpgroups[group_start(kWarpgroup)].fenced = true;
}
void wgmma_commit(Site site) {
  meet_warpgroup("wgmma_commit", site, nullptr, [](std::span<void*>, void*) {
    Warpgroup& w = async().warpgroups[group_start(kWarpgroup)];
    w.groups.push_back(std::move(w.open));
    w.open.clear();
  });
}
void wgmma_wait(int groups_left, Site site) {
  meet_warpgroup("wgmma_wait", site, nullptr, [](std::span<void*>, void* left) {
    Warpgroup& w = async().warpgroups[group_start(kWarpgroup)];
    while (int(w.groups.size()) > *static_cast<int*>(left)) {
      for (WgmmaCall& c : w.groups.front()) run_wgmma(c);
      w.groups.pop_front();
    }
    if (w.groups.empty()) w.fenced = false;
  }, &groups_left);
}

}  // namespace dr::emulator
