#include "kernels/core/simt/engine.h"

#include <sys/mman.h>

#include <algorithm>
#include <boost/context/detail/fcontext.hpp>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <new>
#include <numeric>
#include <vector>

#include "kernels/core/check.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace dr::emulator {
namespace {

namespace context = boost::context::detail;

constexpr unsigned kMaxThreads = 1024;
constexpr size_t kStack = size_t{128} << 10;  // of a fibre; the system gives it pages as they are touched

struct Meeting {
  unsigned first = 0, count = 0, come = 0;
  const char* what = nullptr;
  Site site{};
  std::vector<void*> data;
};

struct NamedBarrier {
  unsigned count = 0, come = 0;
  std::vector<unsigned> waiting;
};

struct Copy {
  void* to;
  const void* from;
  size_t bytes;
};

struct Thread {
  context::fcontext_t fibre = nullptr;
  bool done = false;
  const char* waits = nullptr;  // for what; null: it can run
  Site site{};
  const std::function<bool()>* ready = nullptr;
  std::vector<Copy> open_copies;                // not yet committed
  std::deque<std::vector<Copy>> copy_groups;
  Site copy_site{};
};

// A set of small numbers that gives its smallest.
class ReadySet {
 public:
  void clear() { std::fill(std::begin(words_), std::end(words_), 0); }
  void insert(unsigned i) { words_[i / 64] |= uint64_t{1} << i % 64; }
  int take_first() {
    for (unsigned w = 0; w < std::size(words_); w++)
      if (words_[w]) {
        const int bit = __builtin_ctzll(words_[w]);
        words_[w] &= words_[w] - 1;
        return int(w * 64) + bit;
      }
    return -1;
  }

 private:
  uint64_t words_[kMaxThreads / 64] = {};
};

struct Fibres {
  std::byte* stacks;
  Fibres() {
    void* p = mmap(nullptr, kMaxThreads * kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    stacks = static_cast<std::byte*>(p);
    for (unsigned i = 0; i < kMaxThreads; i++) mprotect(stacks + i * kStack, 4096, PROT_NONE);  // an overflow stops here
  }
  ~Fibres() { munmap(stacks, kMaxThreads * kStack); }
  std::byte* top(unsigned i) const { return stacks + (i + 1) * kStack; }
  // A fibre's last functions never return, so AddressSanitizer goes on watching what lies on its stack.
  void forget([[maybe_unused]] unsigned i, [[maybe_unused]] size_t bytes) const {
#if defined(__SANITIZE_ADDRESS__)
    ASAN_UNPOISON_MEMORY_REGION(top(i) - bytes, bytes);
#endif
  }
  static constexpr size_t usable = kStack - 4096;
};

struct Launch {
  std::string_view kernel;
  LaunchShape shape;
  const std::function<void()>* body;
  Grid block;
  std::byte* shared = nullptr;
  std::vector<Thread> threads;
  std::vector<unsigned> rank, by_rank;  // of a thread in the schedule's order
  ReadySet ready;
  std::vector<Meeting> meetings;
  std::unique_ptr<BlockState> state;
  NamedBarrier named[16];
  std::string error;
  unsigned running = 0;
  context::fcontext_t scheduler = nullptr;
#if defined(__SANITIZE_ADDRESS__)
  const void* scheduler_stack = nullptr;
  size_t scheduler_size = 0;
#endif
};

thread_local Launch* current = nullptr;
thread_local Counters counted;

Thread& running() { return current->threads[current->running]; }

uint64_t mix(uint64_t z) {  // splitmix64's finaliser (Steele, Lea & Flood 2014)
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// The order of n threads or blocks, as the settings say.
std::vector<unsigned> order_of(size_t n, uint64_t salt) {
  std::vector<unsigned> list(n);
  std::iota(list.begin(), list.end(), 0u);
  if (settings().order == Order::reverse) std::reverse(list.begin(), list.end());
  if (settings().order == Order::seeded) {
    uint64_t state = mix(settings().seed) ^ mix(salt + 0x9e3779b97f4a7c15u);
    for (size_t i = n; i > 1; i--) std::swap(list[i - 1], list[mix(state += 0x9e3779b97f4a7c15u) % i]);
  }
  return list;
}

std::string where(const Site& s) {
  std::string_view file = s.file;
  if (const size_t at = file.rfind("kernels/"); at != file.npos) file = file.substr(at);
  return format("{}:{}", file, s.line);
}

std::string place(unsigned thread) {
  const Grid& b = current->block;
  return format("kernel {}, block ({},{},{}), thread {}", current->kernel, b.x, b.y, b.z, thread);
}

// Back to the scheduler; returns when it chooses this thread again.
void yield_to_scheduler([[maybe_unused]] bool for_good = false) {
#if defined(__SANITIZE_ADDRESS__)
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(for_good ? nullptr : &fake, current->scheduler_stack, current->scheduler_size);
#endif
  current->scheduler = context::jump_fcontext(current->scheduler, nullptr).fctx;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, &current->scheduler_stack, &current->scheduler_size);
#endif
}

void make_ready(unsigned thread) {
  current->threads[thread].waits = nullptr;
  current->ready.insert(current->rank[thread]);
}

void block_here(const char* what, Site site) {
  running().waits = what;
  running().site = site;
  yield_to_scheduler();
}

void fibre_main(context::transfer_t from) {
  current->scheduler = from.fctx;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &current->scheduler_stack, &current->scheduler_size);
#endif
  try {
    (*current->body)();
    Thread& t = running();
    if (!t.open_copies.empty() || !t.copy_groups.empty())
      report("it ends while asynchronous copies of its own are under way: nobody waits for them", t.copy_site);
  } catch (const Error& e) {  // a host check that kernel code shares
    current->error = format("{}: {}", place(current->running), e.what());
  }
  running().done = true;
  yield_to_scheduler(true);
}

// Nothing can run and not all have ended.
void report_stuck() {
  const Launch& l = *current;
  unsigned first = kMaxThreads, ended = kMaxThreads, other = kMaxThreads;
  for (unsigned i = 0; i < l.shape.threads; i++) {
    const Thread& t = l.threads[i];
    if (t.done) ended = std::min(ended, i);
    else if (first == kMaxThreads) first = i;
    else if (other == kMaxThreads && t.site.line != l.threads[first].site.line) other = i;
  }
  const Thread& t = l.threads[first];
  std::string text = format("{} waits for ever at {}: {}", place(first), where(t.site), t.waits);
  for (const Meeting& m : l.meetings)
    if (m.come && first >= m.first && first < m.first + m.count)
      text += format(", reached by {} of threads {} to {}", m.come, m.first, m.first + m.count - 1);
  if (other < kMaxThreads)
    text += format("; thread {} waits at {}: {}", other, where(l.threads[other].site), l.threads[other].waits);
  if (ended < kMaxThreads) text += format("; thread {} has ended", ended);
  current->error = text;
}

void run_block(Fibres& fibres, Launch& l, const Grid& block, uint64_t number) {
  const unsigned n = l.shape.threads;
  l.block = block;
  if (l.shared) std::memset(l.shared, settings().poison, l.shape.shared);
  l.by_rank = order_of(n, number + 1);
  l.rank.resize(n);
  for (unsigned i = 0; i < n; i++) l.rank[l.by_rank[i]] = i;
  l.ready.clear();
  l.meetings.clear();
  l.state.reset();
  for (NamedBarrier& b : l.named) b = {};
  for (unsigned i = 0; i < n; i++) {
    l.threads[i] = {};
    l.threads[i].fibre = context::make_fcontext(fibres.top(i), Fibres::usable, fibre_main);
    l.ready.insert(i);
  }
  counted.threads += n;
  for (unsigned left = n; left > 0;) {
    int next = l.ready.take_first();
    do {
      for (unsigned i = 0; next < 0 && i < n; i++) {  // those that wait for a condition
        const unsigned t = l.by_rank[i];
        if (l.threads[t].ready && (*l.threads[t].ready)()) l.threads[t].ready = nullptr, next = int(i);
      }
    } while (next < 0 && l.state && l.state->advance());
    if (next < 0) report_stuck();
    if (l.error.empty()) {
      l.running = l.by_rank[size_t(next)];
      Thread& t = l.threads[l.running];
      t.waits = nullptr;
#if defined(__SANITIZE_ADDRESS__)
      void* fake = nullptr;
      __sanitizer_start_switch_fiber(&fake, fibres.top(l.running) - Fibres::usable, Fibres::usable);
#endif
      t.fibre = context::jump_fcontext(t.fibre, nullptr).fctx;
#if defined(__SANITIZE_ADDRESS__)
      __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
      if (t.done) left--, fibres.forget(l.running, 4096);  // it ended in its first function
    }
    if (!l.error.empty()) {
      for (unsigned i = 0; i < n; i++) fibres.forget(i, Fibres::usable);
      throw Error("simt: " + l.error);
    }
  }
  if (l.state)
    if (const std::string left = l.state->unfinished(); !left.empty())
      throw Error(format("simt: kernel {}, block ({},{},{}) ends: {}", l.kernel, block.x, block.y, block.z, left));
}

struct AlignedDelete {
  void operator()(std::byte* p) const { std::free(p); }
};

void run_grid(std::string_view kernel, const LaunchShape& shape, const std::function<void()>& body) {
  thread_local Fibres fibres;
  CHECK(!current, "simt: kernel {} is launched from within kernel {}", kernel, current->kernel);
  counted.launches++;
  Launch l;
  l.kernel = kernel, l.shape = shape, l.body = &body;
  l.threads.resize(shape.threads);
  // The exact size, so that AddressSanitizer sees what lies beyond.
  void* p = nullptr;
  if (shape.shared && posix_memalign(&p, 1024, shape.shared) != 0) throw std::bad_alloc();
  const std::unique_ptr<std::byte, AlignedDelete> shared(static_cast<std::byte*>(p));
  l.shared = shared.get();
  struct Scope {
    explicit Scope(Launch* launch) { current = launch; }
    ~Scope() { current = nullptr; }
  } scope(&l);
  const Grid& g = shape.grid;
  for (const unsigned b : order_of(size_t(g.x) * g.y * g.z, 0))
    run_block(fibres, l, {b % g.x, b / g.x % g.y, b / g.x / g.y}, b);
}

}  // namespace

Settings& settings() {
  static thread_local Settings s;
  return s;
}
const Counters& counters() { return counted; }

unsigned thread_index() { return current->running; }
unsigned block_threads() { return current->shape.threads; }
const Grid& block_index() { return current->block; }
const Grid& grid_size() { return current->shape.grid; }

std::byte* shared_memory(size_t bytes, Site site) {
  if (bytes > current->shape.shared)
    report(format("{} bytes of shared memory are used, the launch has {}", bytes, current->shape.shared), site);
  return current->shared;
}

void report(std::string what, Site site) {
  current->error = format("{} at {}: {}", place(current->running), where(site), what);
  std::string().swap(what);  // this thread does not come back to free it
  yield_to_scheduler(true);
  std::abort();  // the scheduler does not come back to a launch that failed
}

// ---- meetings ----

void meet(unsigned first, unsigned count, const char* what, Site site, void* data, Finish finish, void* ctx) {
  const unsigned me = current->running;
  Meeting* m = nullptr;
  for (Meeting& open : current->meetings)
    if (open.first == first && open.count == count) m = &open;
  if (!m) {
    current->meetings.push_back({first, count, 0, nullptr, {}, std::vector<void*>(count)});
    m = &current->meetings.back();
  }
  if (m->come == 0) m->what = what, m->site = site;
  if (m->site.line != site.line || std::strcmp(m->site.file, site.file) != 0 || std::strcmp(m->what, what) != 0) {
    std::string text = format("threads {} to {} must meet, but this one comes to {} and others to {} at {}", first,
                              first + count - 1, what, m->what, where(m->site));
    report(std::move(text), site);
  }
  m->data[me - first] = data;
  if (++m->come < count) return block_here(what, site);
  counted.meetings++;
  m->come = 0;
  if (finish) finish(std::span(m->data), ctx);
  for (unsigned i = first; i < first + count; i++)
    if (i != me) make_ready(i);
}

void named_barrier(int id, unsigned count, bool wait, Site site) {
  if (id < 0 || id > 15) report(format("barrier {} does not exist; accepted: 0 to 15", id), site);
  NamedBarrier& b = current->named[id];
  if (count == 0 || count % 32 != 0 || count > current->shape.threads)
    report(format("barrier {} for {} threads of a block of {}", id, count, current->shape.threads), site);
  if (b.come == 0) b.count = count;
  if (b.count != count) report(format("barrier {} is for {} threads here and for {} elsewhere", id, count, b.count), site);
  b.come++;
  if (b.come < b.count) {
    if (!wait) return;
    b.waiting.push_back(current->running);
    return block_here("a named barrier", site);
  }
  b.come = 0;
  for (unsigned t : b.waiting) make_ready(t);
  b.waiting.clear();
}

void wait_until(const std::function<bool()>& ready, const char* what, Site site) {
  if (ready()) return;
  running().ready = &ready;
  block_here(what, site);
}

std::unique_ptr<BlockState>& block_state() { return current->state; }
std::span<std::byte> all_shared_memory() { return {current->shared, current->shape.shared}; }
bool happens_at_once(uint64_t salt) {
  if (settings().order != Order::seeded) return settings().order == Order::reverse;
  const Grid& b = current->block;
  return mix(mix(settings().seed) ^ mix(salt) ^ mix(b.x + 0x10001ull * b.y + 0x100000007ull * b.z)) & 1;
}

// ---- asynchronous copies ----

void async_copy(void* to, const void* from, size_t bytes, Site site) {
  if (reinterpret_cast<uintptr_t>(to) % bytes || reinterpret_cast<uintptr_t>(from) % bytes)
    report(format("an asynchronous copy of {} bytes is not aligned to {}", bytes, bytes), site);
  running().open_copies.push_back({to, from, bytes});
  running().copy_site = site;
}

void async_commit() {
  running().copy_groups.push_back(std::move(running().open_copies));
  running().open_copies.clear();
}

void async_wait(int groups_left) {
  std::deque<std::vector<Copy>>& groups = running().copy_groups;
  while (int(groups.size()) > groups_left) {
    for (const Copy& c : groups.front()) std::memcpy(c.to, c.from, c.bytes);
    groups.pop_front();
  }
}

// ---- streams and graphs ----

class Graph {
 public:
  std::vector<std::function<void()>> nodes;
};
class Stream {
 public:
  Graph* capturing = nullptr;
};

Stream* create_stream() { return new Stream; }
void destroy_stream(Stream* s) { delete s; }

void enqueue(Stream* s, std::function<void()> work) {
  if (s && s->capturing) s->capturing->nodes.push_back(std::move(work));
  else work();
}

void launch(Stream* s, std::string_view kernel, const LaunchShape& shape, std::function<void()> body) {
  const Grid& g = shape.grid;
  CHECK(shape.threads > 0 && shape.threads % 32 == 0 && shape.threads <= kMaxThreads,
        "simt: kernel {} is launched with {} threads; accepted: multiples of 32 up to {}", kernel, shape.threads, kMaxThreads);
  CHECK(g.x > 0 && g.y > 0 && g.z > 0 && g.x <= INT32_MAX && g.y < 65536 && g.z < 65536,
        "simt: kernel {} is launched with grid ({},{},{}); accepted: 1 to 2147483647, 1 to 65535, 1 to 65535", kernel, g.x,
        g.y, g.z);
  constexpr size_t kMostShared = size_t{227} << 10;  // of an H100's block
  CHECK(shape.shared <= kMostShared, "simt: kernel {} is launched with {} bytes of shared memory; accepted: up to {}",
        kernel, shape.shared, kMostShared);
  enqueue(s, [kernel, shape, body = std::move(body)] { run_grid(kernel, shape, body); });
}

void begin_capture(Stream* s) {
  CHECK(s && !s->capturing, "simt: only a stream that is not yet captured can be");
  s->capturing = new Graph;
}
Graph* end_capture(Stream* s) {
  CHECK(s && s->capturing, "simt: the stream is not being captured");
  return std::exchange(s->capturing, nullptr);
}
void replay(Graph* g, Stream* s) {
  for (const std::function<void()>& node : g->nodes) enqueue(s, node);
}
void destroy_graph(Graph* g) { delete g; }

}  // namespace dr::emulator
