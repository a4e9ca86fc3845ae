// A plain copy as the yardstick of memory-bound ops. Request: `copy mb=256 threads=2`: each thread calls memcpy on
// its share. "bytes" counts what is read and what is written, 2 x mb; reading the destination's lines before they are
// written (which non-temporal stores avoid, and glibc uses them for large copies) is not counted. dreamroad's bench
// copies as much.

#include <barrier>
#include <cstring>
#include <thread>

#include "bench/peers/peer.h"

int main(int argc, char** argv) {
  return peer::serve(argc, argv, [](const peer::Request& r) {
    if (r.op != "copy") throw std::runtime_error("memcpy_peak knows copy, not " + r.op);
    int64_t bytes = r.integer("mb", 256) << 20, count = r.sets();
    int threads = std::max(1, r.threads());
    const char* from = reinterpret_cast<const char*>(peer::inputs().floats(count * bytes / 4));
    char* to = reinterpret_cast<char*>(peer::outputs().floats(count * bytes / 4));

    // Threads live through all calls: starting them would be timed otherwise. `set` < 0 ends them.
    int64_t set = 0;
    std::barrier<> gate(threads);
    auto share = [&](int t) {
      auto edge = [&](int64_t i) { return i == threads ? bytes : bytes * i / threads / 4096 * 4096; };
      int64_t begin = edge(t), end = edge(t + 1);
      std::memcpy(to + set * bytes + begin, from + set * bytes + begin, size_t(end - begin));
    };
    std::vector<std::thread> workers;
    for (int t = 1; t < threads; t++) {
      workers.emplace_back([&, t] {
        for (gate.arrive_and_wait(); set >= 0; gate.arrive_and_wait()) {
          share(t);
          gate.arrive_and_wait();
        }
      });
    }
    peer::Timing timing = peer::measure(r, [&](int64_t s) {
      set = s;
      gate.arrive_and_wait();
      share(0);
      gate.arrive_and_wait();
    });
    set = -1;
    gate.arrive_and_wait();
    for (std::thread& w : workers) w.join();
    return peer::Answer{"memcpy", "glibc", "", timing, 0, 2.0 * double(bytes)};
  });
}
