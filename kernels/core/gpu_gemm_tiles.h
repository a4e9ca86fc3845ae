#pragma once
// The fast tier's GEMM on matrix tiles (gpu_matrix.h): bf16 operands, f32 sums, any device.
//
//   store(batch, m, n, sum_k a[m,k] b[k,n])
//
// A block of 256 threads makes 128 x 128 of C. Operands go to shared memory by asynchronous copies, kStages steps of 32 along
// K ahead; each wave keeps 64 x 32 (of 32 lanes) or 64 x 64 (of 64) of C in registers. Sums run over K in steps of 16, so they
// are the same from run to run and for any batch. An error bound: products are exact, each of K / 16 steps adds 16 of them
// with at most one truncation each, so |error| <= (K + K / 16) 2^-23 sum |a b|; then `store` rounds once.
//
// Operands of f32 are rounded to bf16 on their way; those of bf16 must lie in rows of whole 16 bytes (fits_tiles). `store` is that of gpu_gemm.h; where it has pair(batch, m, n, v0,
// v1), that takes columns n and n + 1, n even, both inside.
// Last include of a `.cu`, as gpu.h.

#include "kernels/core/gpu_gemm.h"
#include "kernels/core/gpu_matrix.h"

namespace dr::DR_BACKEND {

// Whether the rows of an operand lie in 16-byte units: what asynchronous copies need.
inline bool fits_tiles(const Operand& o) {
  const int64_t unit = o.is_bf16 ? 8 : 4;
  bool fits = reinterpret_cast<uintptr_t>(o.data) % 16 == 0 && o.ld % unit == 0;
  for (int i = 0; i < 4; i++) fits = fits && (o.batch.sizes[i] == 1 || o.batch.strides[i] % unit == 0);
  return fits;
}

namespace gemm_tiles {

inline constexpr int kThreads = 256, kTile = 128, kDepth = 32, kStages = 3;

// A step of one operand: 128 rows of 32 along K, or, where M or N lies side by side, 32 rows of 128. Eight more in a row spare
// bank conflicts.
template <bool kAlongK>
struct Stage {
  static constexpr int kRows = kAlongK ? kTile : kDepth, kRow = kAlongK ? kDepth : kTile, kLd = kRow + 8;
  alignas(16) bf16 v[kRows * kLd];
};

template <bool kAK, bool kBK>
struct Shared {
  Stage<kAK> a[kStages];
  Stage<kBK> b[kStages];
};

// Fetches a step: rows from `row0` of `rows`, elements from `col0` of `cols`; zeros outside. Every thread has whole 16 bytes.
template <bool kAlongK, class T>
DR_DEVICE void fetch(Stage<kAlongK>& to, const T* from, int64_t ld, int64_t row0, int64_t rows, int64_t col0, int64_t cols) {
  constexpr int kPacks = Stage<kAlongK>::kRow / 8, kAll = Stage<kAlongK>::kRows * kPacks;
  DR_UNROLL
  for (int e = 0; e < kAll / kThreads; e++) {
    const int i = thread_index() + e * kThreads, r = i / kPacks, c = i % kPacks * 8;
    bf16* const at = to.v + r * Stage<kAlongK>::kLd + c;
    const int64_t row = row0 + r, left = cols - (col0 + c);
    const T* const p = from + row * ld + col0 + c;
    if constexpr (sizeof(T) == 2) {
      if (row < rows && left >= 8) async_copy<16>(at, p);
      else
        for (int j = 0; j < 8; j++) at[j] = row < rows && j < left ? p[j] : bf16{0};
    } else {
      for (int j = 0; j < 8; j++) at[j] = row < rows && j < left ? to_bf16(p[j]) : bf16{0};
    }
  }
}

template <class Store, class Batch>
DR_DEVICE void store_two(const Store& store, const Batch& batch, const GemmShape& s, int64_t m, int64_t n, float v0, float v1) {
  if (m >= s.m) return;
  if constexpr (requires { store.pair(batch, m, n, v0, v1); }) {
    if (n + 1 < s.n) return store.pair(batch, m, n, v0, v1);
  }
  if (n < s.n) store(batch, m, n, v0);
  if (n + 1 < s.n) store(batch, m, n + 1, v1);
}

template <bool kAK, bool kBK, class Store>
DR_KERNEL void gemm_on_tiles(GemmShape s, Operand a, Operand b, Store store) {
  auto& shared = shared_memory<Shared<kAK, kBK>>();
  const int64_t tiles_m = (s.m + kTile - 1) / kTile, tiles_n = (s.n + kTile - 1) / kTile;
  const int64_t tile = int64_t(block_index().x) % (tiles_m * tiles_n), problem = int64_t(block_index().x) / (tiles_m * tiles_n);
  const int64_t m0 = tile / tiles_n * kTile, n0 = tile % tiles_n * kTile;
  const int64_t batch_a = a.batch(problem), batch_b = b.batch(problem);
  const auto fetch_step = [&](int64_t step) {
    const int64_t k0 = step * kDepth;
    const auto of_a = [&]<class T>(const T* p) {
      if (kAK) fetch<kAK>(shared.a[step % kStages], p + batch_a, a.ld, m0, s.m, k0, s.k);
      else fetch<kAK>(shared.a[step % kStages], p + batch_a, a.ld, k0, s.k, m0, s.m);
    };
    const auto of_b = [&]<class T>(const T* p) {
      if (kBK) fetch<kBK>(shared.b[step % kStages], p + batch_b, b.ld, n0, s.n, k0, s.k);
      else fetch<kBK>(shared.b[step % kStages], p + batch_b, b.ld, k0, s.k, n0, s.n);
    };
    if (a.is_bf16) of_a(static_cast<const bf16*>(a.data));
    else of_a(static_cast<const float*>(a.data));
    if (b.is_bf16) of_b(static_cast<const bf16*>(b.data));
    else of_b(static_cast<const float*>(b.data));
  };

  // A wave's part of the tile: 64 rows; 32 columns, or 64 where waves are half as many.
  constexpr int kTilesM = 4, kMostN = 4;
  const int wide = wave_lanes() == 32 ? 4 : 2, tiles_across = 8 / wide;
  const int wm = wave_index() / wide * 64, wn = wave_index() % wide * (kTile / wide);
  TileC c[kTilesM][kMostN];
  DR_UNROLL
  for (int i = 0; i < kTilesM; i++)
    DR_UNROLL
    for (int j = 0; j < kMostN; j++) c[i][j] = zero_tile();

  const int64_t steps = (s.k + kDepth - 1) / kDepth;
  DR_UNROLL
  for (int i = 0; i < kStages - 1; i++) {
    if (i < steps) fetch_step(i);
    async_commit();
  }
  for (int64_t step = 0; step < steps; step++) {
    async_wait<kStages - 2>();
    block_sync();  // the step's operands are there, and all have done with the stage that is fetched next
    if (step + kStages - 1 < steps) fetch_step(step + kStages - 1);
    async_commit();
    const bf16 *const sa = shared.a[step % kStages].v, *const sb = shared.b[step % kStages].v;
    constexpr int kLdA = Stage<kAK>::kLd, kLdB = Stage<kBK>::kLd;
    DR_UNROLL
    for (int k = 0; k < kDepth; k += 16) {
      TileA x[kTilesM];
      DR_UNROLL
      for (int i = 0; i < kTilesM; i++) {
        const int m = wm + 16 * i;
        x[i] = kAK ? load_a(sa + m * kLdA + k, kLdA) : load_a_transposed(sa + k * kLdA + m, kLdA);
      }
      DR_UNROLL
      for (int j = 0; j < kMostN; j++) {
        if (j >= tiles_across) break;
        const int n = wn + 16 * j;
        const TileB y = kBK ? load_b(sb + n * kLdB + k, kLdB) : load_b_transposed(sb + k * kLdB + n, kLdB);
        DR_UNROLL
        for (int i = 0; i < kTilesM; i++) mma(c[i][j], x[i], y);
      }
    }
  }
  async_wait<0>();

  const auto first = gemm_detail::first_of(store, problem);
  DR_UNROLL
  for (int i = 0; i < kTilesM; i++)
    DR_UNROLL
    for (int j = 0; j < kMostN; j++) {
      if (j >= tiles_across) break;
      const int64_t m = m0 + wm + 16 * i, n = n0 + wn + 16 * j;
      if (wave_lanes() == 32) {
        DR_UNROLL
        for (int e = 0; e < 8; e += 2)
          store_two(store, first, s, m + tile_row(e), n + tile_column(e), c[i][j].v[e], c[i][j].v[e + 1]);
      } else {
        DR_UNROLL
        for (int e = 0; e < 4; e++)
          if (m + tile_row(e) < s.m && n + tile_column(e) < s.n) store(first, m + tile_row(e), n + tile_column(e), c[i][j].v[e]);
      }
    }
}

}  // namespace gemm_tiles

// a and b: fits_tiles.
template <class Store>
void gemm_on_tiles(const Context& ctx, const GemmShape& s, const Operand& a, const Operand& b, const Store& store) {
  using namespace gemm_tiles;
  if (s.batch == 0 || s.m == 0 || s.n == 0) return;
  const int64_t tiles = s.batch * ((s.m + kTile - 1) / kTile) * ((s.n + kTile - 1) / kTile);
  const auto run = [&]<bool kAK, bool kBK>() {
    launch<gemm_tiles::gemm_on_tiles<kAK, kBK, Store>>(
        ctx, {.grid = {blocks_for(tiles, 1)}, .threads = kThreads, .shared = sizeof(Shared<kAK, kBK>)}, s, a, b, store);
  };
  if (s.a_along_k) s.b_along_k ? run.template operator()<true, true>() : run.template operator()<true, false>();
  else s.b_along_k ? run.template operator()<false, true>() : run.template operator()<false, false>();
}

}  // namespace dr::DR_BACKEND
