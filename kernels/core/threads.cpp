#include "kernels/core/threads.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#else
#include <cfenv>
#endif

namespace dr {

void set_float_environment() {
#if defined(__x86_64__)
  _mm_setcsr(0x1f80);  // exceptions masked, round to nearest, FTZ and DAZ off
#else
  std::fesetenv(FE_DFL_ENV);
#endif
}

namespace {
// How long a worker polls before it sleeps: ops of a training step follow each other within microseconds.
constexpr int kSpins = 4000;

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}
}  // namespace

struct ThreadPool::State {
  std::vector<std::thread> workers;
  std::mutex mutex;
  std::condition_variable wake;
  // Calls so far, whether the last one still takes workers in, and how many are in it. The caller closes the call when no
  // piece is left and waits for those inside alone: a worker that the system has not woken yet, or has put aside for
  // another program, is not waited for.
  static constexpr uint64_t kOpen = 1 << 15, kInside = kOpen - 1, kCall = 1 << 16;
  std::atomic<uint64_t> calls{0};
  std::atomic<bool> stop{false};

  const RangeFunction* f = nullptr;
  int64_t n = 0, grain = 1;
  std::atomic<int64_t> next{0};
  std::exception_ptr error;

  void work() {
    try {
      for (;;) {
        const int64_t begin = next.fetch_add(grain);
        if (begin >= n) return;
        (*f)(begin, std::min(begin + grain, n));
      }
    } catch (...) {
      std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
      next.store(n);
    }
  }

  uint64_t call_number() const { return calls.load(std::memory_order_acquire) / kCall; }

  void worker_loop() {
    set_float_environment();
    uint64_t seen = 0;
    for (;;) {
      for (int i = 0; i < kSpins && call_number() == seen; i++) pause();
      if (call_number() == seen) {
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return call_number() != seen; });
      }
      if (stop.load()) return;
      uint64_t now = calls.load(std::memory_order_acquire);
      while ((now & kOpen) && !calls.compare_exchange_weak(now, now + 1, std::memory_order_acquire)) {
      }
      seen = now / kCall;
      if (!(now & kOpen)) continue;
      work();
      calls.fetch_sub(1, std::memory_order_release);
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  if (threads <= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    threads = sched_getaffinity(0, sizeof set, &set) == 0 ? std::max(1, CPU_COUNT(&set)) : 1;
  }
  set_float_environment();
  for (int i = 1; i < threads; i++) state_->workers.emplace_back([s = state_.get()] { s->worker_loop(); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stop.store(true);
    state_->calls.fetch_add(State::kCall);
  }
  state_->wake.notify_all();
  for (auto& t : state_->workers) t.join();
}

int ThreadPool::size() const { return int(state_->workers.size()) + 1; }

void ThreadPool::run(int64_t n, int64_t grain, RangeFunction f) {
  if (n <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  State& s = *state_;
  if (s.workers.empty() || n <= grain) {
    f(0, n);
    return;
  }
  // A few pieces per thread even out unequal speeds without making the hand-out felt.
  const int64_t pieces = (n + grain - 1) / grain, per = std::max<int64_t>(1, pieces / (4 * size()));
  s.f = &f;
  s.n = n;
  s.grain = per * grain;
  s.next.store(0);
  s.error = nullptr;
  {
    std::lock_guard lock(s.mutex);
    s.calls.fetch_add(State::kCall | State::kOpen, std::memory_order_release);
  }
  s.wake.notify_all();
  s.work();
  s.calls.fetch_and(~State::kOpen, std::memory_order_acq_rel);
  for (int i = 0; (s.calls.load(std::memory_order_acquire) & State::kInside) != 0; i++) {
    if (i < kSpins) pause();
    else std::this_thread::yield();
  }
  if (s.error) std::rethrow_exception(s.error);
}

}  // namespace dr
