#pragma once
// Matrix instructions and Hopper's asynchronous machinery on the emulator, as the PTX ISA describes them (sections "Matrix
// multiply-accumulate instructions", "Asynchronous warpgroup level matrix instructions", "Data movement and conversion
// instructions: bulk copy", "mbarrier"), and AMD's MFMA. gpu_matrix.h and gpu_hopper.h are what kernels call.
//
// Shared memory is seen by two proxies. Ordinary reads and writes are the generic proxy's. wgmma and bulk copies belong to the
// async proxy, which has a picture of shared memory of its own here: bulk loads change both, ordinary writes reach it at the
// next fence_proxy_async of the thread that wrote. An async read of bytes that differ from the ordinary ones is reported: a
// fence is missing. Bulk copies and wgmma take effect at once or as late as they may (happens_at_once).
//
// A matrix product is added with one rounding toward zero per instruction, as roughly as tensor cores round.

#include "kernels/core/dtype.h"
#include "kernels/core/simt/engine.h"

namespace dr::emulator {

// ---- one warp ----

// d += a b: m16n8k16, bf16 operands in the registers of 32 lanes.
void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Site site);
// Four 8 x 8 matrices of 16 bits; lane l gives the address of row l % 8 of matrix l / 8.
void ldmatrix_x4(uint32_t (&r)[4], const void* row, bool transposed, Site site);
void stmatrix_x4(void* row, const uint32_t (&r)[4], bool transposed, Site site);
// d += a b: MFMA 16x16x16 bf16 in the registers of 64 lanes, four elements of each operand.
void mfma_16x16x16(float (&d)[4], const uint32_t (&a)[2], const uint32_t (&b)[2], Site site);

// ---- mbarriers ----

void mbarrier_init(uint64_t* barrier, int count, Site site);
void mbarrier_fence_init();
void mbarrier_arrive(uint64_t* barrier, int bytes_to_come, Site site);
void mbarrier_wait(uint64_t* barrier, int parity, Site site);  // until the phase of that parity has ended

// ---- bulk copies ----

struct TensorMap {
  std::byte* base;
  int rank, element_bytes;
  bool swizzled;                     // 128-byte swizzle
  int64_t sizes[5], strides[5];      // innermost first; strides in bytes
  int box[5];
};
struct Coordinates {
  int c[5];
};
// The box at `at` to shared memory, elements outside the tensor as zeros; then the barrier has its bytes.
void bulk_load(void* shared_to, const TensorMap& map, const Coordinates& at, uint64_t* barrier, Site site);
// The box of shared memory to the tensor, elements outside it left out.
void bulk_store(const TensorMap& map, const Coordinates& at, const void* shared_from, Site site);
void bulk_commit();
void bulk_wait(int groups_left);  // all but the newest groups of this thread's stores have read their shared memory

void fence_proxy_async();

// ---- wgmma: a warpgroup of 128 threads ----

// d (64 x n f32, of this thread n/2 of it) = a b, or d + a b where `accumulate`; k is 16. Operands are bf16, by descriptors of
// shared memory (gpu_hopper.h); `a` may be four registers instead.
struct Wgmma {
  int n;
  bool accumulate, a_transposed, b_transposed;  // transposed: M or N lie side by side in memory, not K
  uint64_t a, b;
  const uint32_t* a_registers;  // null: by descriptor
};
void wgmma(float* d, const Wgmma& op, Site site);
void wgmma_fence(Site site);
void wgmma_commit(Site site);
void wgmma_wait(int groups_left, Site site);

}  // namespace dr::emulator
