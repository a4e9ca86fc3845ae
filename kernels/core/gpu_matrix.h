#pragma once
// Matrix instructions of the fast tier: tiles of 16 x 16 x 16, bf16 operands, f32 sums, one wave a tile. A wave is 32 lanes on
// CUDA (mma.sync m16n8k16, twice) and 64 on HIP (MFMA 16x16x16); the emulator has both. Kernels name tiles, rows and columns;
// which lane holds which element is this header's business.
//
//   TileC c = zero_tile();
//   mma(c, load_a(a, lda), load_b(b, ldb));
//   for (int i = 0; i < tile_elements(); i++) use(tile_row(i), tile_column(i), c.v[i]);
//
// Operands lie in shared memory, rows 16-byte aligned (a leading dimension of 8 mod 16 elements spares bank conflicts).
// Last include of a `.cu`, as gpu.h.

#include "kernels/core/gpu.h"

#if defined(DR_BACKEND_simt)
#include "kernels/core/simt/matrix.h"
#endif

namespace dr::DR_BACKEND {

struct TileA { uint32_t r[4]; };  // 16 (m) x 16 (k) bf16; 64 lanes use two of r
struct TileB { uint32_t r[4]; };  // 16 (k) x 16 (n) bf16
struct TileC { float v[8]; };     // 16 (m) x 16 (n) f32; 64 lanes use four of v

DR_DEVICE TileC zero_tile() { return {}; }

DR_DEVICE uint32_t pack_bf16(float low, float high) {
#if defined(DR_BACKEND_cuda)
  uint32_t r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
#else
  return to_bf16(low).bits | uint32_t(to_bf16(high).bits) << 16;
#endif
}

// Lane of the wave, and how many there are.
DR_DEVICE int wave_lane() { return thread_index() % wave_lanes(); }
DR_DEVICE int wave_index() { return thread_index() / wave_lanes(); }
DR_DEVICE int tile_elements() { return 256 / wave_lanes(); }
// Of element i of this lane's TileC.
DR_DEVICE int tile_row(int i) {
  const int l = wave_lane();
  return wave_lanes() == 32 ? l / 4 + i / 2 % 2 * 8 : l / 16 * 4 + i;
}
DR_DEVICE int tile_column(int i) {
  const int l = wave_lane();
  return wave_lanes() == 32 ? l % 4 * 2 + i % 2 + i / 4 * 8 : l % 16;
}

// ---- the instructions ----

#if defined(DR_BACKEND_simt)
DR_DEVICE void ldmatrix(uint32_t (&r)[4], const bf16* row, bool transposed, emulator::Site site) {
  emulator::ldmatrix_x4(r, row, transposed, site);
}
DR_DEVICE void mma_half(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], emulator::Site site) {
  emulator::mma_m16n8k16(d, a, b, site);
}
DR_DEVICE void mfma(float (&d)[4], const uint32_t (&a)[2], const uint32_t (&b)[2], emulator::Site site) {
  emulator::mfma_16x16x16(d, a, b, site);
}
#define DR_SITE , emulator::Site site = emulator::Site::here()
#define DR_HERE , site
#define DR_HERE_FIRST site
#else
#define DR_SITE
#define DR_HERE
#define DR_HERE_FIRST
#if defined(DR_BACKEND_cuda)
DR_DEVICE void ldmatrix(uint32_t (&r)[4], const bf16* row, bool transposed) {
  const unsigned p = unsigned(__cvta_generic_to_shared(row));
  if (transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(p) : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(p) : "memory");
}
DR_DEVICE void mma_half(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
DR_DEVICE void mfma(float (&)[4], const uint32_t (&)[2], const uint32_t (&)[2]) {}  // waves of 32 have none
#else
DR_DEVICE void ldmatrix(uint32_t (&)[4], const bf16*, bool) {}  // waves of 64 have neither
DR_DEVICE void mma_half(float (&)[4], const uint32_t (&)[4], const uint32_t (&)[2]) {}
DR_DEVICE void mfma(float (&d)[4], const uint32_t (&a)[2], const uint32_t (&b)[2]) {
  typedef short Four __attribute__((ext_vector_type(4)));
  typedef float Sums __attribute__((ext_vector_type(4)));
  const Four x = __builtin_bit_cast(Four, a), y = __builtin_bit_cast(Four, b);
  Sums c = {d[0], d[1], d[2], d[3]};
#if defined(__gfx90a__) || defined(__gfx940__)
  c = __builtin_amdgcn_mfma_f32_16x16x16bf16_1k(x, y, c, 0, 0, 0);
#endif
  for (int i = 0; i < 4; i++) d[i] = c[i];
}
#endif
#endif

// ---- operands from shared memory ----

namespace matrix_detail {

// Elements k .. k + 3 of a lane's row or column on 64 lanes, which lie `step` apart.
DR_DEVICE void four(uint32_t (&r)[4], const bf16* p, int64_t step) {
  r[0] = p[0].bits | uint32_t(p[step].bits) << 16;
  r[1] = p[2 * step].bits | uint32_t(p[3 * step].bits) << 16;
}

}  // namespace matrix_detail

// A[m][k] = p[m*ld + k].
DR_DEVICE TileA load_a(const bf16* p, int ld DR_SITE) {
  TileA t;
  const int l = wave_lane();
  if (wave_lanes() == 32) ldmatrix(t.r, p + (l % 16) * ld + l / 16 * 8, false DR_HERE);
  else matrix_detail::four(t.r, p + l % 16 * ld + l / 16 * 4, 1);
  return t;
}
// A[m][k] = p[k*ld + m].
DR_DEVICE TileA load_a_transposed(const bf16* p, int ld DR_SITE) {
  TileA t;
  const int l = wave_lane();
  if (wave_lanes() == 32) ldmatrix(t.r, p + (l % 8 + l / 16 * 8) * ld + l / 8 % 2 * 8, true DR_HERE);
  else matrix_detail::four(t.r, p + l / 16 * 4 * ld + l % 16, ld);
  return t;
}
// B[k][n] = p[n*ld + k].
DR_DEVICE TileB load_b(const bf16* p, int ld DR_SITE) {
  TileB t;
  const int l = wave_lane();
  if (wave_lanes() == 32) ldmatrix(t.r, p + (l % 8 + l / 16 * 8) * ld + l / 8 % 2 * 8, false DR_HERE);
  else matrix_detail::four(t.r, p + l % 16 * ld + l / 16 * 4, 1);
  return t;
}
// B[k][n] = p[k*ld + n].
DR_DEVICE TileB load_b_transposed(const bf16* p, int ld DR_SITE) {
  TileB t;
  const int l = wave_lane();
  if (wave_lanes() == 32) ldmatrix(t.r, p + (l % 16) * ld + l / 16 * 8, true DR_HERE);
  else matrix_detail::four(t.r, p + l / 16 * 4 * ld + l % 16, ld);
  return t;
}

// c += a b.
DR_DEVICE void mma(TileC& c, const TileA& a, const TileB& b DR_SITE) {
  if (wave_lanes() == 32) {
    DR_UNROLL
    for (int h = 0; h < 2; h++) {
      float d[4] = {c.v[4 * h], c.v[4 * h + 1], c.v[4 * h + 2], c.v[4 * h + 3]};
      const uint32_t half[2] = {b.r[2 * h], b.r[2 * h + 1]};
      mma_half(d, a.r, half DR_HERE);
      DR_UNROLL
      for (int i = 0; i < 4; i++) c.v[4 * h + i] = d[i];
    }
  } else {
    float d[4] = {c.v[0], c.v[1], c.v[2], c.v[3]};
    const uint32_t x[2] = {a.r[0], a.r[1]}, y[2] = {b.r[0], b.r[1]};
    mfma(d, x, y DR_HERE);
    DR_UNROLL
    for (int i = 0; i < 4; i++) c.v[i] = d[i];
  }
}

// A product as the left operand of the next, rounded to bf16. On 32 lanes both lie alike; on 64 they are each other's
// transpose, and `room`, 16 x 16 bf16 of shared memory that this wave has for itself, is where they change places.
DR_DEVICE TileA to_a(const TileC& c, [[maybe_unused]] bf16* room DR_SITE) {
  TileA a{};
  if (wave_lanes() == 32) {
    a.r[0] = pack_bf16(c.v[0], c.v[1]), a.r[1] = pack_bf16(c.v[2], c.v[3]);
    a.r[2] = pack_bf16(c.v[4], c.v[5]), a.r[3] = pack_bf16(c.v[6], c.v[7]);
    return a;
  }
#if !defined(DR_BACKEND_cuda)
  for (int i = 0; i < 4; i++) room[tile_row(i) * 16 + tile_column(i)] = to_bf16(c.v[i]);
  wave_sync(DR_HERE_FIRST);
  a = load_a(room, 16 DR_HERE);
  wave_sync(DR_HERE_FIRST);
#endif
  return a;
}

}  // namespace dr::DR_BACKEND
