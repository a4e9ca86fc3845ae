#pragma once
// The device layer: one vocabulary for kernels, of which CUDA, HIP and the emulator (core/simt/) each have a body. A `.cu`
// is compiled with -DDR_BACKEND=cuda|hip|simt and -DDR_BACKEND_<that name>; its kernels, and everything below, live in
// `namespace dr::DR_BACKEND`. Include this header, or one that does, last. No other file includes a vendor's header.
//
//   template <class T>
//   DR_KERNEL void scale(T* y, const T* x, float a, int64_t n) {
//     if (const int64_t i = global_thread(); i < n) store1(y + i, a * load1(x + i));
//   }
//   launch<scale<T>>(ctx, {.grid = {blocks_for(n, 256)}, .threads = 256}, y, x, a, n);
//
// Threads come in groups of 32, thread 32 g + l being lane l of group g: a warp of CUDA, half a wave of HIP. Canonical row
// sums have 32 lanes, so a group is what sums a row, on every device. All 32 lanes must reach each shuffle, ballot and
// group_sync, from one place in the code; so must all threads of a block each block_sync.

#include "kernels/core/context.h"
#include "kernels/core/dtype.h"

#if !defined(DR_BACKEND)
#error "a .cu is compiled with -DDR_BACKEND=cuda|hip|simt and -DDR_BACKEND_<that name>"
#endif

#if defined(DR_BACKEND_cuda)
#include <cublasLt.h>
#include <cuda.h>
#include <cuda_runtime.h>
#elif defined(DR_BACKEND_hip)
#include <hip/hip_runtime.h>
#else
#include "kernels/core/simt/engine.h"
#endif

#include "kernels/core/simd.h"

#if defined(DR_BACKEND_simt)
#define DR_KERNEL
#define DR_DEVICE inline
#define DR_UNROLL
#define DR_LAUNCH_BOUNDS(threads, blocks)
#else
#define DR_KERNEL __global__
#define DR_DEVICE __device__ __forceinline__
#define DR_LAUNCH_BOUNDS(threads, blocks) __launch_bounds__(threads, blocks)
#define DR_UNROLL _Pragma("unroll")  // before a loop whose arrays must lie in registers
#endif

// Between DR_KERNEL and void: a kernel that wants registers is launched with no more than n threads, and is to leave room
// for `blocks` blocks on a multiprocessor.
#if defined(DR_BACKEND_cuda)
#define DR_THREADS(n, blocks) __launch_bounds__(n, blocks)
#elif defined(DR_BACKEND_hip)
#define DR_THREADS(n, blocks) __launch_bounds__(n)  // without it, no more registers than a block of 1024 can have
#else
#define DR_THREADS(n, blocks)
#endif

namespace dr::DR_BACKEND {

inline constexpr int kGroup = 32;  // lanes that share shuffles and canonical sums

#if defined(DR_BACKEND_simt)

using emulator::Grid;
using emulator::LaunchShape;

// ---- coordinates ----

DR_DEVICE int thread_index() { return int(emulator::thread_index()); }
DR_DEVICE int block_threads() { return int(emulator::block_threads()); }
DR_DEVICE const Grid& block_index() { return emulator::block_index(); }
DR_DEVICE const Grid& grid_size() { return emulator::grid_size(); }
DR_DEVICE int wave_lanes() { return emulator::settings().lanes; }

// ---- shared memory: one struct a kernel, as large as the launch says ----

template <class S>
DR_DEVICE S& shared_memory(emulator::Site site = emulator::Site::here()) {
  return *reinterpret_cast<S*>(emulator::shared_memory(sizeof(S), site));
}

// ---- meetings ----

namespace simt_detail {
inline unsigned group_start() { return emulator::thread_index() / kGroup * kGroup; }
template <class T>
struct Exchange {
  T value;
  int from;
};
}  // namespace simt_detail

DR_DEVICE void block_sync(emulator::Site site = emulator::Site::here()) {
  emulator::meet(0, emulator::block_threads(), "block_sync", site, nullptr, nullptr);
}
DR_DEVICE void group_sync(emulator::Site site = emulator::Site::here()) {
  emulator::meet(simt_detail::group_start(), kGroup, "group_sync", site, nullptr, nullptr);
}
// All lanes of a wave, 32 or 64.
DR_DEVICE void wave_sync(emulator::Site site = emulator::Site::here()) {
  const unsigned lanes = unsigned(wave_lanes());
  emulator::meet(emulator::thread_index() / lanes * lanes, lanes, "wave_sync", site, nullptr, nullptr);
}
// Barrier `id`, 1 to 15, among `threads` of the block; arrive does not wait.
DR_DEVICE void named_sync(int id, int threads, emulator::Site site = emulator::Site::here()) {
  emulator::named_barrier(id, unsigned(threads), true, site);
}
DR_DEVICE void named_arrive(int id, int threads, emulator::Site site = emulator::Site::here()) {
  emulator::named_barrier(id, unsigned(threads), false, site);
}
// The value of lane `from` of the group, 0 to 31.
template <class T>
DR_DEVICE T shuffle(T value, int from, emulator::Site site = emulator::Site::here()) {
  if (from < 0 || from >= kGroup) emulator::report(format("shuffle from lane {}; accepted: 0 to 31", from), site);
  simt_detail::Exchange<T> mine{value, from};
  emulator::meet(simt_detail::group_start(), kGroup, "shuffle", site, &mine, [](std::span<void*> data, void*) {
    T given[kGroup];
    for (int l = 0; l < kGroup; l++) given[l] = static_cast<simt_detail::Exchange<T>*>(data[size_t(l)])->value;
    for (void* d : data) {
      auto* e = static_cast<simt_detail::Exchange<T>*>(d);
      e->value = given[e->from];
    }
  });
  return mine.value;
}
template <class T>
DR_DEVICE T shuffle_xor(T value, int mask, emulator::Site site = emulator::Site::here()) {
  return shuffle(value, (thread_index() % kGroup) ^ mask, site);
}
// Bit l: the condition of lane l.
DR_DEVICE uint32_t ballot(bool condition, emulator::Site site = emulator::Site::here()) {
  uint32_t mine = condition;
  emulator::meet(simt_detail::group_start(), kGroup, "ballot", site, &mine, [](std::span<void*> data, void*) {
    uint32_t all = 0;
    for (size_t l = 0; l < data.size(); l++) all |= *static_cast<uint32_t*>(data[l]) << l;
    for (void* d : data) *static_cast<uint32_t*>(d) = all;
  });
  return mine;
}

// ---- memory ----

// A vector of bytes at once; p is aligned to its size.
template <class V>
DR_DEVICE V load_vector(const void* p, emulator::Site site = emulator::Site::here()) {
  if (reinterpret_cast<uintptr_t>(p) % sizeof(V)) emulator::report(format("a load of {} bytes is misaligned", sizeof(V)), site);
  return *static_cast<const V*>(p);
}
template <class V>
DR_DEVICE void store_vector(void* p, const V& v, emulator::Site site = emulator::Site::here()) {
  if (reinterpret_cast<uintptr_t>(p) % sizeof(V)) emulator::report(format("a store of {} bytes is misaligned", sizeof(V)), site);
  *static_cast<V*>(p) = v;
}

// From global to shared memory while the thread goes on: kBytes = 4, 8 or 16, both aligned to that. A group of copies is
// what was started since the last commit; async_wait<N> leaves the newest N groups under way. Other threads see the bytes
// after a barrier.
template <int kBytes>
DR_DEVICE void async_copy(void* shared_to, const void* from, emulator::Site site = emulator::Site::here()) {
  emulator::async_copy(shared_to, from, kBytes, site);
}
DR_DEVICE void async_commit() { emulator::async_commit(); }
template <int kLeft>
DR_DEVICE void async_wait() {
  emulator::async_wait(kLeft);
}

// Integer atomics, of which the result does not depend on order. Each returns what was there.
template <class T>
DR_DEVICE T atomic_add(T* p, T v) {
  static_assert(std::is_integral_v<T>);
  const T old = *p;
  *p = T(old + v);
  return old;
}
template <class T>
DR_DEVICE T atomic_min(T* p, T v) {
  static_assert(std::is_integral_v<T>);
  const T old = *p;
  if (v < old) *p = v;
  return old;
}
template <class T>
DR_DEVICE T atomic_max(T* p, T v) {
  static_assert(std::is_integral_v<T>);
  const T old = *p;
  if (v > old) *p = v;
  return old;
}

// ---- launches ----

namespace simt_detail {
template <auto Kernel>
constexpr std::string_view kernel_name() {
  std::string_view s = __PRETTY_FUNCTION__;
  s.remove_prefix(s.find("Kernel = ") + 9);
  s = s.substr(0, s.rfind("; std::string_view"));
  for (std::string_view prefix : {"dr::simt::", "{anonymous}::"})
    if (s.starts_with(prefix)) s.remove_prefix(prefix.size());
  return s;
}
}  // namespace simt_detail

template <auto Kernel, class... A>
void launch(const Context& ctx, const LaunchShape& shape, A... args) {
  emulator::launch(static_cast<emulator::Stream*>(ctx.stream), simt_detail::kernel_name<Kernel>(), shape,
               [args...] { Kernel(args...); });
}

#else  // CUDA and HIP

struct Grid {
  unsigned x = 1, y = 1, z = 1;
};
struct LaunchShape {
  Grid grid;
  unsigned threads = 32;
  size_t shared = 0;
};

DR_DEVICE int thread_index() { return int(threadIdx.x); }
DR_DEVICE int block_threads() { return int(blockDim.x); }
DR_DEVICE Grid block_index() { return {blockIdx.x, blockIdx.y, blockIdx.z}; }
DR_DEVICE Grid grid_size() { return {gridDim.x, gridDim.y, gridDim.z}; }

extern __shared__ __align__(1024) unsigned char shared_bytes[];
template <class S>
DR_DEVICE S& shared_memory() {
  return *reinterpret_cast<S*>(shared_bytes);
}

DR_DEVICE void block_sync() { __syncthreads(); }

#if defined(DR_BACKEND_cuda)
DR_DEVICE int wave_lanes() { return 32; }
DR_DEVICE void group_sync() { __syncwarp(); }
DR_DEVICE void wave_sync() { __syncwarp(); }
DR_DEVICE void named_sync(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }
DR_DEVICE void named_arrive(int id, int threads) { asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory"); }
template <class T>
DR_DEVICE T shuffle(T value, int from) {
  return __shfl_sync(0xffffffffu, value, from);
}
template <class T>
DR_DEVICE T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}
DR_DEVICE uint32_t ballot(bool condition) { return __ballot_sync(0xffffffffu, condition); }
#else
DR_DEVICE int wave_lanes() { return warpSize; }
// A wave runs in lockstep: its lanes need no barrier, only a compiler that keeps memory accesses in their order.
DR_DEVICE void group_sync() {
  __builtin_amdgcn_fence(__ATOMIC_ACQ_REL, "wavefront");
  __builtin_amdgcn_wave_barrier();
}
DR_DEVICE void wave_sync() { group_sync(); }
template <class T>
DR_DEVICE T shuffle(T value, int from) {
  return __shfl(value, from, 32);
}
template <class T>
DR_DEVICE T shuffle_xor(T value, int mask) {
  return __shfl_xor(value, mask, 32);
}
DR_DEVICE uint32_t ballot(bool condition) { return uint32_t(__ballot(condition) >> (threadIdx.x & 32 & (warpSize - 1))); }
#endif

template <class V>
DR_DEVICE V load_vector(const void* p) {
  return *static_cast<const V*>(p);
}
template <class V>
DR_DEVICE void store_vector(void* p, const V& v) {
  *static_cast<V*>(p) = v;
}

template <int kBytes>
DR_DEVICE void async_copy(void* shared_to, const void* from) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
#if defined(DR_BACKEND_cuda)
  const unsigned to = unsigned(__cvta_generic_to_shared(shared_to));
  if constexpr (kBytes == 16) asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
  else asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(to), "l"(from), "n"(kBytes) : "memory");
#else
  struct alignas(kBytes) Bytes { unsigned char b[kBytes]; };
  *static_cast<Bytes*>(shared_to) = *static_cast<const Bytes*>(from);
#endif
}
DR_DEVICE void async_commit() {
#if defined(DR_BACKEND_cuda)
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int kLeft>
DR_DEVICE void async_wait() {
#if defined(DR_BACKEND_cuda)
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
#endif
}

namespace gpu_detail {
// The vendors' atomics know `unsigned long long`, not uint64_t.
template <class T>
using Atomic = std::conditional_t<sizeof(T) == 8, unsigned long long, T>;
}  // namespace gpu_detail
template <class T>
DR_DEVICE T atomic_add(T* p, T v) {
  static_assert(std::is_integral_v<T>);
  using A = gpu_detail::Atomic<T>;
  return T(atomicAdd(reinterpret_cast<A*>(p), A(v)));
}
template <class T>
DR_DEVICE T atomic_min(T* p, T v) {
  static_assert(std::is_integral_v<T> && (sizeof(T) == 4 || std::is_unsigned_v<T>));
  using A = gpu_detail::Atomic<T>;
  return T(atomicMin(reinterpret_cast<A*>(p), A(v)));
}
template <class T>
DR_DEVICE T atomic_max(T* p, T v) {
  static_assert(std::is_integral_v<T> && (sizeof(T) == 4 || std::is_unsigned_v<T>));
  using A = gpu_detail::Atomic<T>;
  return T(atomicMax(reinterpret_cast<A*>(p), A(v)));
}

#if defined(DR_BACKEND_cuda)
using stream_t = cudaStream_t;
inline void check_launch(const char* kernel) {
  if (const cudaError_t e = cudaGetLastError(); e != cudaSuccess)
    fail("{}: the launch failed: {}", kernel, cudaGetErrorString(e));
}
inline void allow_shared(const void* kernel, size_t bytes) {  // more than 48 KB must be asked for
  if (bytes > size_t{48} << 10) (void)cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes));
}
#else
using stream_t = hipStream_t;
inline void check_launch(const char* kernel) {
  if (const hipError_t e = hipGetLastError(); e != hipSuccess)
    fail("{}: the launch failed: {}", kernel, hipGetErrorString(e));
}
inline void allow_shared(const void*, size_t) {}
#endif

template <auto Kernel, class... A>
void launch(const Context& ctx, const LaunchShape& s, A... args) {
  allow_shared(reinterpret_cast<const void*>(Kernel), s.shared);
  Kernel<<<dim3(s.grid.x, s.grid.y, s.grid.z), dim3(s.threads), s.shared, static_cast<stream_t>(ctx.stream)>>>(args...);
  check_launch(__PRETTY_FUNCTION__);
}

#endif

// ---- what follows from these ----

DR_DEVICE int lane_index() { return thread_index() % kGroup; }
DR_DEVICE int group_index() { return thread_index() / kGroup; }  // of the block
DR_DEVICE int block_groups() { return block_threads() / kGroup; }
DR_DEVICE int64_t global_thread() { return int64_t(block_index().x) * block_threads() + thread_index(); }
DR_DEVICE int64_t global_group() { return int64_t(block_index().x) * block_groups() + group_index(); }
DR_DEVICE int count_bits(uint32_t v) {
#if defined(DR_BACKEND_simt)
  return __builtin_popcount(v);
#else
  return __popc(v);
#endif
}
DR_DEVICE bool any(bool condition) { return ballot(condition) != 0; }
DR_DEVICE bool all(bool condition) { return ballot(condition) == 0xffffffffu; }

// How many blocks of a kernel that stays on its multiprocessor there are to be.
inline int multiprocessors() {
#if defined(DR_BACKEND_simt)
  return 3;
#elif defined(DR_BACKEND_cuda)
  static const int count = [] {
    int n = 0;
    return cudaDeviceGetAttribute(&n, cudaDevAttrMultiProcessorCount, 0) == cudaSuccess ? n : 1;
  }();
  return count;
#else
  static const int count = [] {
    int n = 0;
    return hipDeviceGetAttribute(&n, hipDeviceAttributeMultiprocessorCount, 0) == hipSuccess ? n : 1;
  }();
  return count;
#endif
}

// How a kernel says that it met bad data (DeviceFault); it then goes on with something defined.
struct FaultSink {
  DeviceFault* to;
  char op[sizeof(DeviceFault::op)];
  DR_DEVICE void raise(int64_t value, int64_t low, int64_t high) const {
    if (!to || atomic_max(&to->raised, 1) != 0) return;
    for (size_t i = 0; i < sizeof op; i++) to->op[i] = op[i];
    to->value = value, to->low = low, to->high = high;
  }
};
inline FaultSink fault_sink(const Context& ctx, std::string_view op) {
  FaultSink sink{ctx.fault, {}};
  for (size_t i = 0; i < op.size() && i + 1 < sizeof sink.op; i++) sink.op[i] = op[i];
  return sink;
}

// Blocks that hold n items, `per_block` each; 1 at least, since a grid cannot be empty.
inline unsigned blocks_for(int64_t n, int64_t per_block) {
  const int64_t blocks = (n + per_block - 1) / per_block;
  CHECK(blocks <= INT32_MAX, "{} items need {} blocks, more than a grid has", n, blocks);
  return blocks > 0 ? unsigned(blocks) : 1;
}

}  // namespace dr::DR_BACKEND
