#pragma once
// The emulator's engine: runs a kernel's threads as fibres on the calling thread, block after block, and is stricter than
// hardware about what they may do.
//
// A thread runs until it must wait for others (a barrier, a shuffle), and of those that can run the first in the
// schedule's order goes on. So under Order::identity warp 0 is as far ahead of warp 1 as barriers allow, under
// Order::reverse as far behind; a seeded order is any permutation, another one for each block. Blocks run in that order
// too. Code that is free of races gives the same bits under all of them.
//
// What a kernel does wrong is reported as dr::Error from the launch, with kernel, block, thread and line: threads that do
// not all reach a barrier or shuffle, or reach different ones; waiting for ever; misaligned vectors; shared memory asked
// for beyond the launch's; asynchronous copies that nobody waits for. Shared memory is filled with `poison` before each
// block, and an asynchronous copy lands only when it is waited for.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace dr::emulator {

enum class Order : uint8_t { identity, reverse, seeded };

// Of every launch from now on. A program sets them between launches.
struct Settings {
  int lanes = 32;      // of a warp: 32 or 64
  bool hopper = true;  // whether a device of 32 lanes has bulk copies and wgmma
  Order order = Order::identity;
  uint64_t seed = 1;       // of Order::seeded
  uint8_t poison = 0xff;   // 0xff...: a NaN in every floating type
};
Settings& settings();

struct Grid {
  unsigned x = 1, y = 1, z = 1;
};
struct LaunchShape {
  Grid grid;
  unsigned threads = 32;  // of a block: a multiple of 32
  size_t shared = 0;      // bytes
};

// Where kernel code calls the emulator.
struct Site {
  const char* file;
  int line;
  static Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
};

// ---- the running thread ----

unsigned thread_index();
unsigned block_threads();
const Grid& block_index();
const Grid& grid_size();
std::byte* shared_memory(size_t bytes, Site site);  // 1024-byte aligned

// Ends the launch with an error that names kernel, block, thread and site.
[[noreturn]] void report(std::string what, Site site);

// ---- meetings: what barriers and warp-wide operations are made of ----

// Threads first .. first + count - 1 of the block call this with the same `what` and site, each with data of its own. When
// the last has come, finish(data of all in thread order, context) runs, and all go on.
using Finish = void (*)(std::span<void*> data, void* context);
void meet(unsigned first, unsigned count, const char* what, Site site, void* data, Finish finish, void* context = nullptr);

// Barrier `id` < 16 of the block: goes on, or with `wait` false does not wait, once `count` threads have called it.
void named_barrier(int id, unsigned count, bool wait, Site site);

// Lets other threads run until ready() holds. `what` is reported if it never does.
void wait_until(const std::function<bool()>& ready, const char* what, Site site);

// ---- asynchronous copies of the running thread ----

void async_copy(void* shared_to, const void* from, size_t bytes, Site site);
void async_commit();
void async_wait(int groups_left);  // all but the newest `groups_left` groups have landed

// ---- what else a block keeps (matrix.cpp), made when it is first asked for ----

class BlockState {
 public:
  virtual ~BlockState() = default;
  virtual bool advance() = 0;                // completes something that is under way, when no thread can run
  virtual std::string unfinished() const = 0;  // at the block's end: what nobody waited for, or nothing
};
std::unique_ptr<BlockState>& block_state();
std::span<std::byte> all_shared_memory();
// Whether something asynchronous happens at once or as late as it may: late in their own order, at once in reverse, either
// in a seeded order. `salt` tells the things of a block apart.
bool happens_at_once(uint64_t salt);

// ---- launches ----

class Stream;  // null: the default stream
Stream* create_stream();
void destroy_stream(Stream*);

// Runs body() once for each thread of the grid, now; or records it where the stream is being captured.
void launch(Stream*, std::string_view kernel, const LaunchShape&, std::function<void()> body);
// Runs, or records, what is no kernel: a copy or a fill.
void enqueue(Stream*, std::function<void()> work);

class Graph;
void begin_capture(Stream*);
Graph* end_capture(Stream*);
void replay(Graph*, Stream*);
void destroy_graph(Graph*);

struct Counters {
  uint64_t launches = 0, threads = 0, meetings = 0;
};
const Counters& counters();

}  // namespace dr::emulator
