#pragma once
// Hopper's asynchronous machinery: mbarriers, bulk copies of tensor tiles (TMA), the async proxy's fence, and wgmma, products of
// 64 x N x 16 by a warpgroup (128 threads from a multiple of 128 on) with operands in shared memory. CUDA's sm_90a and the
// emulator have them; a kernel that uses them is compiled to nothing for other architectures (DR_HOPPER_CODE).
//
// Operands of wgmma lie in patterns of 8 rows of 128 bytes with the 128-byte swizzle, as a bulk copy of a swizzled TensorMap
// with 64 elements of bf16 in its innermost axis leaves them, at multiples of 1024 bytes:
//   K side by side:       row i is row i of A or column i of B, its 64 elements are 64 steps of K; the next 8 rows follow
//                         `stride` bytes further on; a step of 16 along K is 32 bytes further on
//   M or N side by side   (transposed): row k is a step of K, its 64 elements are 64 of M or N; the next 8 steps of K follow
//                         `stride` bytes further on, the next 64 of M or N `leading` bytes
// Source: PTX ISA 8.x, "Asynchronous warpgroup level matrix shared memory layout".
// Last include of a `.cu`, as gpu.h.

#include "kernels/core/gpu.h"

#if defined(DR_BACKEND_simt)
#include "kernels/core/simt/matrix.h"
#endif

// Whether the body of a Hopper kernel is compiled: it must not be where the instructions do not exist.
#if defined(DR_BACKEND_simt) || (defined(__CUDA_ARCH_FEAT_SM90_ALL) && __CUDA_ARCH__ == 900)
#define DR_HOPPER_CODE 1
#else
#define DR_HOPPER_CODE 0
#endif

// Whether host code may launch one at all.
#if defined(DR_BACKEND_hip)
#define DR_HOPPER_LAUNCHES 0
#else
#define DR_HOPPER_LAUNCHES 1
#endif

#if defined(DR_BACKEND_cuda)
#define DR_GRID_CONSTANT __grid_constant__
#else
#define DR_GRID_CONSTANT
#endif

#if DR_HOPPER_LAUNCHES

namespace dr::DR_BACKEND {

#if defined(DR_BACKEND_simt)
using emulator::TensorMap;
#else
struct alignas(64) TensorMap {
  uint64_t opaque[16];
};
#endif

// A tensor of bf16 for bulk copies: sizes innermost first, strides in bytes from axis 1 on (multiples of 16), the box that one
// copy moves, 64 elements (128 bytes) along axis 0, swizzled. A kernel takes it as `const DR_GRID_CONSTANT TensorMap`.
struct TensorTiles {
  void* data;  // 16-byte aligned
  int rank;    // 2 to 5
  int64_t sizes[5], strides[5];
  int box[5];
};

#if defined(DR_BACKEND_simt)

inline bool has_hopper() { return emulator::settings().lanes == 32 && emulator::settings().hopper; }

inline TensorMap tensor_map(const TensorTiles& t) {
  TensorMap m{static_cast<std::byte*>(t.data), t.rank, 2, true, {}, {}, {}};
  CHECK(reinterpret_cast<uintptr_t>(t.data) % 16 == 0, "tensor map: the tensor is not aligned to 16 bytes");
  CHECK(t.box[0] == 64, "tensor map: a box of {} elements along axis 0; accepted: 64", t.box[0]);
  for (int a = 0; a < t.rank; a++) {
    CHECK(a == 0 || t.strides[a] % 16 == 0, "tensor map: a stride of {} bytes; accepted: multiples of 16", t.strides[a]);
    CHECK(t.box[a] >= 1 && t.box[a] <= 256, "tensor map: a box of {} along axis {}; accepted: 1 to 256", t.box[a], a);
    m.sizes[a] = t.sizes[a], m.strides[a] = a ? t.strides[a] : 2, m.box[a] = t.box[a];
  }
  return m;
}

DR_DEVICE void mbarrier_init(uint64_t* b, int count, emulator::Site s = emulator::Site::here()) { emulator::mbarrier_init(b, count, s); }
DR_DEVICE void mbarrier_fence_init() { emulator::mbarrier_fence_init(); }
DR_DEVICE void mbarrier_arrive(uint64_t* b, emulator::Site s = emulator::Site::here()) { emulator::mbarrier_arrive(b, 0, s); }
DR_DEVICE void mbarrier_expect(uint64_t* b, int bytes, emulator::Site s = emulator::Site::here()) { emulator::mbarrier_arrive(b, bytes, s); }
DR_DEVICE void mbarrier_wait(uint64_t* b, int parity, emulator::Site s = emulator::Site::here()) { emulator::mbarrier_wait(b, parity, s); }

template <class... C>
DR_DEVICE void bulk_load_at(emulator::Site s, void* to, const TensorMap& map, uint64_t* barrier, C... c) {
  emulator::bulk_load(to, map, {{c...}}, barrier, s);
}
DR_DEVICE void bulk_load(void* to, const TensorMap& map, uint64_t* barrier, int x, int y, emulator::Site s = emulator::Site::here()) {
  bulk_load_at(s, to, map, barrier, x, y);
}
DR_DEVICE void bulk_load(void* to, const TensorMap& map, uint64_t* barrier, int x, int y, int z, int w,
                         emulator::Site s = emulator::Site::here()) {
  bulk_load_at(s, to, map, barrier, x, y, z, w);
}
DR_DEVICE void bulk_store(const TensorMap& map, const void* from, int x, int y, emulator::Site s = emulator::Site::here()) {
  emulator::bulk_store(map, {{x, y}}, from, s);
}
DR_DEVICE void bulk_store(const TensorMap& map, const void* from, int x, int y, int z, int w,
                          emulator::Site s = emulator::Site::here()) {
  emulator::bulk_store(map, {{x, y, z, w}}, from, s);
}
DR_DEVICE void bulk_commit() { emulator::bulk_commit(); }
template <int kLeft>
DR_DEVICE void bulk_wait() { emulator::bulk_wait(kLeft); }
DR_DEVICE void fence_proxy_async() { emulator::fence_proxy_async(); }

DR_DEVICE void wgmma_fence(emulator::Site s = emulator::Site::here()) { emulator::wgmma_fence(s); }
DR_DEVICE void wgmma_commit(emulator::Site s = emulator::Site::here()) { emulator::wgmma_commit(s); }
template <int kLeft>
DR_DEVICE void wgmma_wait(emulator::Site s = emulator::Site::here()) { emulator::wgmma_wait(kLeft, s); }

DR_DEVICE uint64_t shared_address(const void* p) {
  return uint64_t(static_cast<const std::byte*>(p) - emulator::all_shared_memory().data());
}
template <bool kTransA = false, bool kTransB = false, int kN>
DR_DEVICE void wgmma(float (&d)[kN], uint64_t a, uint64_t b, bool accumulate, emulator::Site s = emulator::Site::here()) {
  emulator::wgmma(d, {2 * kN, accumulate, kTransA, kTransB, a, b, nullptr}, s);
}
template <bool kTransB = false, int kN>
DR_DEVICE void wgmma(float (&d)[kN], const uint32_t (&a)[4], uint64_t b, bool accumulate, emulator::Site s = emulator::Site::here()) {
  emulator::wgmma(d, {2 * kN, accumulate, false, kTransB, 0, b, a}, s);
}
// Registers of each thread of this warpgroup from here on: what a producer gives back, consumers take.
template <int kCount>
DR_DEVICE void give_registers() {}
template <int kCount>
DR_DEVICE void take_registers() {}

#elif defined(DR_BACKEND_cuda)

inline bool has_hopper() {
  static const bool has = [] {
    int major = 0, minor = 0;
    return cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0) == cudaSuccess &&
           cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0) == cudaSuccess && major == 9 && minor == 0;
  }();
  return has;
}

inline TensorMap tensor_map(const TensorTiles& t) {
  using Encode = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*, const cuuint64_t*,
                              const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle,
                              CUtensorMapL2promotion, CUtensorMapFloatOOBfill);
  static const Encode encode = [] {
    void* f = nullptr;
    cudaDriverEntryPointQueryResult found;
    if (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &f, 12000, cudaEnableDefault, &found) != cudaSuccess) f = nullptr;
    return reinterpret_cast<Encode>(f);
  }();
  CHECK(encode, "tensor map: the driver has no cuTensorMapEncodeTiled; accepted: CUDA 12 and later");
  cuuint64_t sizes[5], strides[5];
  cuuint32_t box[5], steps[5];
  for (int a = 0; a < t.rank; a++) {
    sizes[a] = cuuint64_t(t.sizes[a]), box[a] = cuuint32_t(t.box[a]), steps[a] = 1;
    if (a) strides[a - 1] = cuuint64_t(t.strides[a]);
  }
  TensorMap map;
  static_assert(sizeof(TensorMap) == sizeof(CUtensorMap));
  const CUresult r = encode(reinterpret_cast<CUtensorMap*>(&map), CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, cuuint32_t(t.rank), t.data,
                            sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                            CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  CHECK(r == CUDA_SUCCESS, "tensor map: cuTensorMapEncodeTiled failed with {}", int(r));
  return map;
}

DR_DEVICE unsigned shared_pointer(const void* p) { return unsigned(__cvta_generic_to_shared(p)); }
DR_DEVICE uint64_t shared_address(const void* p) { return shared_pointer(p); }

#if DR_HOPPER_CODE

DR_DEVICE void mbarrier_init(uint64_t* b, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_pointer(b)), "r"(count) : "memory");
}
DR_DEVICE void mbarrier_fence_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
DR_DEVICE void mbarrier_arrive(uint64_t* b) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_pointer(b)) : "memory");
}
DR_DEVICE void mbarrier_expect(uint64_t* b, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_pointer(b)), "r"(bytes) : "memory");
}
DR_DEVICE void mbarrier_wait(uint64_t* b, int parity) {
  int done;
  do {
    asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.b32 %0, 1, 0, p;\n}\n"
                 : "=r"(done) : "r"(shared_pointer(b)), "r"(parity) : "memory");
  } while (!done);
}

DR_DEVICE void bulk_load(void* to, const TensorMap& map, uint64_t* barrier, int x, int y) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
                   shared_pointer(to)), "l"(&map), "r"(shared_pointer(barrier)), "r"(x), "r"(y) : "memory");
}
DR_DEVICE void bulk_load(void* to, const TensorMap& map, uint64_t* barrier, int x, int y, int z, int w) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(
                   shared_pointer(to)), "l"(&map), "r"(shared_pointer(barrier)), "r"(x), "r"(y), "r"(z), "r"(w) : "memory");
}
DR_DEVICE void bulk_store(const TensorMap& map, const void* from, int x, int y) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(&map),
               "r"(shared_pointer(from)), "r"(x), "r"(y) : "memory");
}
DR_DEVICE void bulk_store(const TensorMap& map, const void* from, int x, int y, int z, int w) {
  asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::"l"(&map),
               "r"(shared_pointer(from)), "r"(x), "r"(y), "r"(z), "r"(w) : "memory");
}
DR_DEVICE void bulk_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
template <int kLeft>
DR_DEVICE void bulk_wait() { asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kLeft) : "memory"); }
DR_DEVICE void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

DR_DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DR_DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int kLeft>
DR_DEVICE void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kLeft) : "memory"); }

template <int kCount>
DR_DEVICE void give_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount)); }
template <int kCount>
DR_DEVICE void take_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount)); }

namespace hopper_detail {

template <bool kTransA, bool kTransB>
DR_DEVICE void wgmma_n64(float (&d)[32], uint64_t a, uint64_t b, int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\nwgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
      "}, %32, %33, p, 1, 1, %35, %36;\n}\n"
      :
        "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
      : "l"(a), "l"(b), "r"(accumulate), "n"(int(kTransA)), "n"(int(kTransB)));
}
template <bool kTransB>
DR_DEVICE void wgmma_n64(float (&d)[32], const uint32_t (&a)[4], uint64_t b, int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\nwgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
      "}, {%32, %33, %34, %35}, %36, p, 1, 1, %38;\n}\n"
      :
        "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"(int(kTransB)));
}
template <bool kTransA, bool kTransB>
DR_DEVICE void wgmma_n128(float (&d)[64], uint64_t a, uint64_t b, int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\nwgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
      "}, %64, %65, p, 1, 1, %67, %68;\n}\n"
      :
        "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
        "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]),
        "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
        "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),
        "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
      : "l"(a), "l"(b), "r"(accumulate), "n"(int(kTransA)), "n"(int(kTransB)));
}
template <bool kTransB>
DR_DEVICE void wgmma_n128(float (&d)[64], const uint32_t (&a)[4], uint64_t b, int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\nwgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
      "}, {%64, %65, %66, %67}, %68, p, 1, 1, %70;\n}\n"
      :
        "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
        "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]),
        "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
        "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),
        "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"(int(kTransB)));
}
template <bool kTransA, bool kTransB>
DR_DEVICE void wgmma_n256(float (&d)[128], uint64_t a, uint64_t b, int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %130, 0;\nwgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
      "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
      "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
      "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
      "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
      "}, %128, %129, p, 1, 1, %131, %132;\n}\n"
      :
        "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
        "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]),
        "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
        "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),
        "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63]),
        "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71]),
        "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]), "+f"(d[78]), "+f"(d[79]),
        "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87]),
        "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95]),
        "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99]), "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103]),
        "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107]), "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), "+f"(d[111]),
        "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115]), "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119]),
        "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), "+f"(d[123]), "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])
      : "l"(a), "l"(b), "r"(accumulate), "n"(int(kTransA)), "n"(int(kTransB)));
}
template <bool kTransB>
DR_DEVICE void wgmma_n256(float (&d)[128], const uint32_t (&a)[4], uint64_t b, int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %133, 0;\nwgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
      "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
      "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
      "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
      "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
      "}, {%128, %129, %130, %131}, %132, p, 1, 1, %134;\n}\n"
      :
        "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
        "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]),
        "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
        "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),
        "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63]),
        "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71]),
        "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]), "+f"(d[78]), "+f"(d[79]),
        "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87]),
        "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95]),
        "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99]), "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103]),
        "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107]), "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), "+f"(d[111]),
        "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115]), "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119]),
        "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), "+f"(d[123]), "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"(int(kTransB)));
}

}  // namespace hopper_detail

// d (64 x N) = a b, or d + a b where `accumulate`, 16 steps of K; operands by descriptors (operand_descriptor), or a in four
// registers, in the layout of mma.sync's A for the 16 rows of each warp. Element i of d: row 16 (warp) + lane / 4 + (i / 2 % 2) 8,
// column i / 4 * 8 + lane % 4 * 2 + i % 2. N is 64, 128 or 256.
template <bool kTransA = false, bool kTransB = false, int kN>
DR_DEVICE void wgmma(float (&d)[kN], uint64_t a, uint64_t b, bool accumulate) {
  if constexpr (kN == 32) hopper_detail::wgmma_n64<kTransA, kTransB>(d, a, b, accumulate);
  else if constexpr (kN == 64) hopper_detail::wgmma_n128<kTransA, kTransB>(d, a, b, accumulate);
  else hopper_detail::wgmma_n256<kTransA, kTransB>(d, a, b, accumulate);
}
template <bool kTransB = false, int kN>
DR_DEVICE void wgmma(float (&d)[kN], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  if constexpr (kN == 32) hopper_detail::wgmma_n64<kTransB>(d, a, b, accumulate);
  else if constexpr (kN == 64) hopper_detail::wgmma_n128<kTransB>(d, a, b, accumulate);
  else hopper_detail::wgmma_n256<kTransB>(d, a, b, accumulate);
}

#endif  // DR_HOPPER_CODE

#endif

#if DR_HOPPER_CODE
// p: 1024-byte aligned but for steps along K. Bytes between patterns of 8 rows, and, of a transposed operand, between those of
// 64 elements of M or N.
DR_DEVICE uint64_t operand_descriptor(const void* p, int stride, int leading = 16) {
  return (shared_address(p) & 0x3ffff) >> 4 | uint64_t(leading >> 4) << 16 | uint64_t(stride >> 4) << 32 | uint64_t{1} << 62;
}
#endif

}  // namespace dr::DR_BACKEND

#endif  // DR_HOPPER_LAUNCHES
