#pragma once
// simd.h for device code: the same vocabulary for one lane, so that a formula is written once for vectors on the CPU and
// for the threads of a GPU. What walks over memory in vectors has no place here; gpu_*.h have the walks of devices.
// simd.h includes this header where DR_BACKEND is defined.

#include <cmath>
#include <cstring>
#include <type_traits>

#include "kernels/core/context.h"
#include "kernels/core/view.h"

#define DR_ISA DR_BACKEND

#if defined(DR_BACKEND_cuda)
#define DR_INLINE __device__ __forceinline__
#elif defined(DR_BACKEND_hip)
#define DR_INLINE __device__ inline __attribute__((always_inline))
#else
#define DR_INLINE inline __attribute__((always_inline))
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c,bmi2")  // of the functions from here on: fma must be an instruction
#endif
#endif

namespace dr::DR_BACKEND {

inline constexpr Backend kBackend = Backend::DR_BACKEND;
inline constexpr int W = 1;

using f32v = float;
using i32v = int32_t;
using u32v = uint32_t;
using f64v = double;
using i64v = int64_t;
using u64v = uint64_t;
using maskv = bool;

DR_INLINE f32v splat(float v) { return v; }
DR_INLINE f64v splat64(double v) { return v; }
DR_INLINE i32v splat_i(int32_t v) { return v; }
DR_INLINE u32v splat_u(uint32_t v) { return v; }

template <class To, class From>
DR_INLINE To bits(From v) {
  static_assert(sizeof(To) == sizeof(From));
  return __builtin_bit_cast(To, v);
}

// ---- IEEE, never contracted (-fmad=false, -ffp-contract=off) ----

#if defined(DR_BACKEND_cuda)
DR_INLINE float fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
DR_INLINE double fma(double a, double b, double c) { return __fma_rn(a, b, c); }
DR_INLINE float sqrt(float a) { return __fsqrt_rn(a); }
DR_INLINE double sqrt(double a) { return __dsqrt_rn(a); }
#else
DR_INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
DR_INLINE double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
DR_INLINE float sqrt(float a) { return __builtin_sqrtf(a); }
DR_INLINE double sqrt(double a) { return __builtin_sqrt(a); }
#endif

DR_INLINE f64v widen(f32v v) { return v; }
DR_INLINE f32v narrow(f64v v) { return float(v); }

// ---- memory: n is 1 ----

DR_INLINE float load1(const float* p) { return *p; }
DR_INLINE float load1(const bf16* p) { return dr::widen(*p); }
DR_INLINE void store1(float* p, float v) { *p = v; }
DR_INLINE void store1(bf16* p, float v) { *p = to_bf16(v); }

DR_INLINE f32v abs(f32v v) { return bits<f32v>(bits<u32v>(v) & 0x7fffffffu); }
DR_INLINE i32v to_int(f32v v) { return i32v(v); }        // toward zero, |v| < 2^31
DR_INLINE f32v to_float(i32v v) { return f32v(v); }      // rounded to nearest even

DR_INLINE f32v pick(maskv mask, f32v a, f32v b) { return mask ? a : b; }
DR_INLINE i32v pick(maskv mask, i32v a, i32v b) { return mask ? a : b; }
DR_INLINE maskv everywhere() { return true; }

// Calls f with a null T* of the view's element type: f(float*) or f(bf16*). Host code.
template <class F>
decltype(auto) with_float_type(DType t, F&& f) {
  if (t == DType::bf16) return f(static_cast<bf16*>(nullptr));
  return f(static_cast<float*>(nullptr));
}

}  // namespace dr::DR_BACKEND
