#pragma once
// A pool of worker threads with static work division. Work items never share a sum, so the number of threads
// cannot change a result.

#include <cstdint>
#include <memory>
#include <type_traits>

namespace dr {

// A non-owning reference to a callable void(int64_t begin, int64_t end).
class RangeFunction {
 public:
  template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, RangeFunction>)
  RangeFunction(F&& f)
      : object_(const_cast<void*>(static_cast<const void*>(&f))),
        call_([](void* o, int64_t b, int64_t e) { (*static_cast<std::remove_reference_t<F>*>(o))(b, e); }) {}
  void operator()(int64_t begin, int64_t end) const { call_(object_, begin, end); }

 private:
  void* object_;
  void (*call_)(void*, int64_t, int64_t);
};

class ThreadPool {
 public:
  explicit ThreadPool(int threads);  // 0: one per core this process may use
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;

  // Calls f(begin, end) over disjoint ranges that cover [0, n), then returns. Ranges are handed out in pieces of at
  // least `grain` (and a multiple of it, but for the last). An exception in f is rethrown here. Not reentrant.
  void run(int64_t n, int64_t grain, RangeFunction f);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Round to nearest even, denormals kept: what every thread that computes must have set.
void set_float_environment();

}  // namespace dr
