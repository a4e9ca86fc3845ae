#pragma once
// Context: everything a kernel call needs besides its views. Kernels know nothing of the runtime.

#include <span>
#include <string_view>

#include "kernels/core/check.h"
#include "kernels/core/threads.h"

namespace dr {

// Where a kernel body runs. The CPU has one body per instruction set, compiled from the same `_cpu.cpp`.
enum class Backend : uint8_t { portable, avx2, avx512, simt, cuda, hip };

constexpr std::string_view name_of(Backend b) {
  constexpr std::string_view names[] = {"portable", "avx2", "avx512", "simt", "cuda", "hip"};
  return names[int(b)];
}
constexpr bool is_cpu(Backend b) { return b <= Backend::avx512; }

enum class MathTier : uint8_t { canonical, fast };

// Bad data that a kernel met, in memory that both the device and the host reach. A kernel cannot throw: the first one to
// meet such data says so here, goes on with something defined, and whoever waits for the device throws.
struct DeviceFault {
  int32_t raised = 0;
  char op[28] = {};
  int64_t value = 0, low = 0, high = 0;  // what was met, and what is accepted: low to high
};

struct Context {
  Backend backend = Backend::portable;
  MathTier math = MathTier::canonical;
  ThreadPool* pool = nullptr;       // CPU; null: the calling thread alone
  void* stream = nullptr;           // devices
  std::span<std::byte> scratch;     // at least the op's scratch_bytes, 64-byte aligned; contents undefined
  std::span<std::byte> workspace;   // devices, fast tier: what operands in bf16 are made in; 256-byte aligned, may be empty
  int leaves = 1;                   // leaves in this micro-batch; gradients of shared inputs have one row per leaf
  uint64_t first_sample = 0;        // global index of this micro-batch's first sample within the step
  uint32_t op_id = 0;               // position of this call in the recorded step, for Philox
  DeviceFault* fault = nullptr;     // devices

  int threads() const { return pool ? pool->size() : 1; }

  // f(begin, end) over disjoint ranges covering [0, n), in pieces of at least `grain` items.
  template <class F>
  void parallel(int64_t n, int64_t grain, F&& f) const {
    if (pool) pool->run(n, grain, f);
    else if (n > 0) f(int64_t{0}, n);
  }

  template <class T>
  T* scratch_as(size_t count, size_t byte_offset = 0) const {
    CHECK(byte_offset + count * sizeof(T) <= scratch.size(), "scratch: {} bytes needed, {} given",
          byte_offset + count * sizeof(T), scratch.size());
    return reinterpret_cast<T*>(scratch.data() + byte_offset);
  }
};

}  // namespace dr
