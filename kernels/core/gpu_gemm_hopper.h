#pragma once
// The fast tier's GEMM on Hopper: bf16 operands by bulk copies, products by wgmma, f32 sums in registers.
//
//   store(batch, m, n, sum_k a[m,k] b[k,n])
//
// A block of three warpgroups stays on its multiprocessor and takes one tile of C after another: 128 x kN. Warpgroup 0 is the
// producer, one thread of it: it keeps kStages steps of 64 along K under way, each announced by the mbarrier `full` and given
// back by `empty`. Warpgroups 1 and 2 own 64 rows of the tile each and keep them in registers. While one step is multiplied the
// step before it is given back. K, M and N may be any: copies fill with zeros what lies outside.
// Sums run over K in ascending steps of 16, the same from run to run and for any batch; the error bound is that of
// gpu_gemm_tiles.h.
//
// Operands: fits_tiles, and matrices of a batch evenly spaced (fits_hopper). `store` as in gpu_gemm_tiles.h.
// Last include of a `.cu`, as gpu.h.

#include "kernels/core/gpu_gemm_tiles.h"
#include "kernels/core/gpu_hopper.h"

namespace dr::DR_BACKEND {

// Whether the matrices of a batch are evenly spaced, so that one description reaches them all.
inline bool evenly_spaced(const BatchOffset& b) {
  int64_t step = -1;  // from one matrix to the next, as the axes seen so far have it
  for (int i = 3; i >= 0; i--) {
    if (b.sizes[i] == 1) continue;
    if (step >= 0 && b.strides[i] != step) return false;
    step = b.strides[i] * b.sizes[i];
  }
  return true;
}
inline int64_t batch_step(const BatchOffset& b) {
  for (int i = 3; i >= 0; i--)
    if (b.sizes[i] != 1) return b.strides[i];
  return 0;
}
inline bool fits_hopper(const Operand& o) { return o.is_bf16 && fits_tiles(o) && evenly_spaced(o.batch); }

}  // namespace dr::DR_BACKEND

#if DR_HOPPER_LAUNCHES

namespace dr::DR_BACKEND {

namespace gemm_hopper {

inline constexpr int kThreads = 3 * 128, kM = 128, kDepth = 64, kStages = 4;
inline constexpr int kBlockBytes = 64 * 64 * 2;  // 64 rows of 128 bytes

template <int kN>
struct Shared {
  alignas(1024) std::byte a[kStages][kM * kDepth * 2], b[kStages][kN * kDepth * 2];
  uint64_t full[kStages], empty[kStages];
};

// The steps that a block multiplies, counted over all of its tiles: which stage, and the parity of the stage's phase.
struct Turn {
  int stage = 0, parity = 0;
  DR_DEVICE void next() {
    if (++stage == kStages) stage = 0, parity ^= 1;
  }
};

// The matrix of one operand, as one step reads it: 64 along K and kSide along M or N, in boxes of 64 x 64 where those lie side
// by side, in one box else.
inline TensorMap operand_map(const Operand& o, const AsStored& s, bool along_k, int64_t batch, int side) {
  const int64_t ld = o.ld * 2, step = batch_step(o.batch) * 2;
  return tensor_map({const_cast<void*>(o.data), 4, {s.columns, s.rows, batch, 1}, {2, ld, step ? step : 16, 16},
                     {64, along_k ? side : 64, 1, 1}});
}

#if DR_HOPPER_CODE
template <bool kAlongK, int kSide>
DR_DEVICE void load_step(std::byte* to, const TensorMap& map, uint64_t* full, int k, int first, int problem) {
  if (kAlongK) {
    bulk_load(to, map, full, k, first, problem, 0);
  } else {
    for (int i = 0; i < kSide / 64; i++) bulk_load(to + i * kBlockBytes, map, full, first + 64 * i, k, problem, 0);
  }
}
// 16 steps of K from `k` on; rows or columns from `side` on.
template <bool kAlongK>
DR_DEVICE uint64_t step_descriptor(const std::byte* from, int side, int k) {
  return kAlongK ? operand_descriptor(from + side * 128 + k * 2, 1024)
                 : operand_descriptor(from + side / 64 * kBlockBytes + k * 128, 1024, kBlockBytes);
}
#endif

template <bool kAK, bool kBK, int kN, class Store>
DR_KERNEL void DR_LAUNCH_BOUNDS(kThreads, 1)
    gemm_on_wgmma(const DR_GRID_CONSTANT TensorMap a, const DR_GRID_CONSTANT TensorMap b, GemmShape s, Store store) {
#if DR_HOPPER_CODE
  auto& shared = shared_memory<Shared<kN>>();
  const int tiles_m = int((s.m + kM - 1) / kM), tiles_n = int((s.n + kN - 1) / kN), steps = int((s.k + kDepth - 1) / kDepth);
  const int64_t per_problem = int64_t(tiles_m) * tiles_n, tiles = s.batch * per_problem;
  const int warpgroup = thread_index() / 128;
  if (thread_index() == 0) {
    for (int i = 0; i < kStages; i++) mbarrier_init(&shared.full[i], 1), mbarrier_init(&shared.empty[i], 2);
    mbarrier_fence_init();
  }
  block_sync();  // the barriers are there
  // Tiles go down in columns of eight, so that blocks that run together share rows of B and columns of A in the cache.
  const auto place = [&](int64_t tile, int& m0, int& n0, int& problem) {
    constexpr int kRows = 8;
    problem = int(tile / per_problem);
    const int t = int(tile % per_problem), band = t / (kRows * tiles_n), first = band * kRows;
    const int rows = tiles_m - first < kRows ? tiles_m - first : kRows, in_band = t - band * kRows * tiles_n;
    m0 = (first + in_band % rows) * kM, n0 = in_band / rows * kN;
  };

  Turn turn;
  if (warpgroup == 0) {
    give_registers<40>();
    if (thread_index() != 0) return;
    for (int64_t tile = block_index().x; tile < tiles; tile += grid_size().x) {
      int m0, n0, problem;
      place(tile, m0, n0, problem);
      for (int step = 0; step < steps; step++, turn.next()) {
        mbarrier_wait(&shared.empty[turn.stage], turn.parity ^ 1);
        uint64_t* const full = &shared.full[turn.stage];
        mbarrier_expect(full, int(sizeof shared.a[0] + sizeof shared.b[0]));
        load_step<kAK, kM>(shared.a[turn.stage], a, full, step * kDepth, m0, problem);
        load_step<kBK, kN>(shared.b[turn.stage], b, full, step * kDepth, n0, problem);
      }
    }
    return;
  }

  take_registers<232>();
  const int row0 = (warpgroup - 1) * 64, lane = thread_index() % 32, warp = thread_index() % 128 / 32;
  const bool speaks = thread_index() % 128 == 0;
  for (int64_t tile = block_index().x; tile < tiles; tile += grid_size().x) {
    int m0, n0, problem;
    place(tile, m0, n0, problem);
    float c[kN / 2];
    DR_UNROLL
    for (int i = 0; i < kN / 2; i++) c[i] = 0;
    int before = -1;
    for (int step = 0; step < steps; step++, turn.next()) {
      mbarrier_wait(&shared.full[turn.stage], turn.parity);
      wgmma_fence();
      DR_UNROLL
      for (int k = 0; k < kDepth; k += 16)
        wgmma<!kAK, !kBK>(c, step_descriptor<kAK>(shared.a[turn.stage], row0, k),
                          step_descriptor<kBK>(shared.b[turn.stage], 0, k), true);
      wgmma_commit();
      wgmma_wait<1>();  // the step before has been read
      if (speaks && before >= 0) mbarrier_arrive(&shared.empty[before]);
      before = turn.stage;
    }
    wgmma_wait<0>();
    if (speaks && before >= 0) mbarrier_arrive(&shared.empty[before]);
    const auto first = gemm_detail::first_of(store, int64_t(problem));
    DR_UNROLL
    for (int i = 0; i < kN / 2; i += 2)
      gemm_tiles::store_two(store, first, s, m0 + row0 + warp * 16 + lane / 4 + i / 2 % 2 * 8, n0 + i / 4 * 8 + lane % 4 * 2,
                            c[i], c[i + 1]);
  }
#endif
}

}  // namespace gemm_hopper

// a and b: fits_hopper.
template <class Store>
void gemm_on_wgmma(const Context& ctx, const GemmShape& s, const Operand& a, const Operand& b, const Store& store) {
  using namespace gemm_hopper;
  if (s.batch == 0 || s.m == 0 || s.n == 0) return;
  CHECK(s.batch <= INT32_MAX && s.m <= INT32_MAX && s.n <= INT32_MAX && s.k <= INT32_MAX,
        "a product of {} x {} x {}, {} times, is too large for bulk copies", s.m, s.n, s.k, s.batch);
  const auto run = [&]<bool kAK, bool kBK, int kN>() {
    const int64_t tiles = s.batch * ((s.m + kM - 1) / kM) * ((s.n + kN - 1) / kN);
    const unsigned blocks = unsigned(std::min<int64_t>(tiles, multiprocessors()));
    launch<gemm_hopper::gemm_on_wgmma<kAK, kBK, kN, Store>>(
        ctx, {.grid = {blocks}, .threads = kThreads, .shared = sizeof(Shared<kN>)},
        operand_map(a, as_stored(a, s.m, s.k), kAK, s.batch, kM), operand_map(b, as_stored(b, s.k, s.n), kBK, s.batch, kN), s,
        store);
  };
  const auto run_wide = [&]<bool kAK, bool kBK>() {
    if (s.n > 128) run.template operator()<kAK, kBK, 256>();
    else run.template operator()<kAK, kBK, 128>();
  };
  if (s.a_along_k) s.b_along_k ? run_wide.template operator()<true, true>() : run_wide.template operator()<true, false>();
  else s.b_along_k ? run_wide.template operator()<false, true>() : run_wide.template operator()<false, false>();
}

}  // namespace dr::DR_BACKEND

#endif  // DR_HOPPER_LAUNCHES
