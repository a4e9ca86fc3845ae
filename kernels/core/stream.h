#pragma once
// Streaming stores: an output too large to be found in a cache by whoever reads it next is written past the caches,
// which saves reading its lines first. Measured on two cores of a Xeon with 260 MB of last-level cache: at 100 MB a copy
// gains 1.4 to 1.9 times; at 1 MB it loses 2 to 3 times. Hence the threshold.
// Last include of a `_cpu.cpp`, as simd.h.

#include <algorithm>

#include "kernels/core/simd.h"

namespace dr::DR_ISA {

inline constexpr size_t kStreamBytes = size_t{32} << 20;

// Whether a view's rows (its last axis) are to be streamed: they are many bytes, and each starts on a cache line.
inline bool streams(const View& v) {
#if defined(DR_ISA_portable)
  (void)v;
  return false;
#else
  if (v.bytes() < kStreamBytes || reinterpret_cast<uintptr_t>(v.data) % 64 != 0) return false;
  for (int i = 0; i + 1 < v.rank(); i++)
    if (v.stride(i) * int64_t(size_of(v.dtype)) % 64 != 0) return false;
  return true;
#endif
}

// Streamed bytes become visible to other threads only after this: call it before the range of work ends.
DR_INLINE void stream_fence(bool stream) {
#if defined(DR_ISA_portable)
  (void)stream;
#else
  if (stream) _mm_sfence();
#endif
}

// store_n that streams whole vectors if told to: p must then be a multiple of W elements past a cache line's start.
template <class T>
DR_INLINE void put(T* p, f32v v, int n, bool) {
  store_n(p, v, n);
}
DR_INLINE void put(float* p, f32v v, std::integral_constant<int, W>, bool stream) {
#if defined(DR_ISA_avx512)
  if (stream) return _mm512_stream_ps(p, v);
#elif defined(DR_ISA_avx2)
  if (stream) return _mm256_stream_ps(p, v);
#else
  (void)stream;
#endif
  store(p, v);
}
DR_INLINE void put(bf16* p, f32v v, std::integral_constant<int, W>, bool stream) {
#if defined(DR_ISA_avx512)
  if (stream) return _mm256_stream_si256(reinterpret_cast<__m256i*>(p), bits<__m256i>(round_bf16(v)));
#elif defined(DR_ISA_avx2)
  if (stream) return _mm_stream_si128(reinterpret_cast<__m128i*>(p), bits<__m128i>(round_bf16(v)));
#else
  (void)stream;
#endif
  store(p, v);
}

// Asks memory for what a later iteration reads: a vector of bf16 takes so many instructions that too few loads are in
// flight otherwise. Asking past the end is harmless.
template <class T>
DR_INLINE void read_ahead(const T* p) {
  __builtin_prefetch(reinterpret_cast<const char*>(p) + 2048);
}

// f(row, column, n) in parallel over runs of at most `piece` elements of one row; the fence where they were streamed.
template <class F>
void for_pieces(Context& ctx, int64_t rows, int64_t cols, int64_t piece, bool stream, F&& f) {
  if (rows == 0 || cols == 0) return;
  const int64_t per_row = (cols + piece - 1) / piece;
  ctx.parallel(rows * per_row, std::max<int64_t>(1, piece / cols), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; p++) {
      const int64_t c = p % per_row * piece;
      f(p / per_row, c, std::min(piece, cols - c));
    }
    stream_fence(stream);
  });
}

}  // namespace dr::DR_ISA
