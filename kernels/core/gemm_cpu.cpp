#include <utility>

#include "kernels/core/gemm.h"

namespace dr::DR_ISA {

namespace {

template <int MR, int NV, ALayout L>
void tile(int64_t kc, const float* a, int64_t lda, const float* b, float* c, int64_t ldc,
                                    bool add, const float* bias) {
  f32v acc[MR][NV] = {};
#pragma GCC unroll 16
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) __builtin_prefetch(c + i * ldc + j * W, 1);
  for (int64_t k = 0; k < kc; k++) {
    f32v bk[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) {
      bk[j] = load(b + j * W);
      __builtin_prefetch(b + 8 * NV * W + j * W);
    }
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++) {
      const f32v ai = splat(L == ALayout::rows ? a[i * lda] : a[i]);
#pragma GCC unroll 4
      for (int j = 0; j < NV; j++) acc[i][j] = fma(ai, bk[j], acc[i][j]);
    }
    a += L == ALayout::rows ? 1 : kMR;
    b += NV * W;
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; i++) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) {
      float* p = c + i * ldc + j * W;
      if (add) acc[i][j] = load(p) + acc[i][j];
      if (bias) acc[i][j] = acc[i][j] + load(bias + j * W);
      store(p, acc[i][j]);
    }
  }
}

template <ALayout L>
constexpr auto tiles() {
  return []<int... I>(std::integer_sequence<int, I...>) {
    return std::array<TileFunction, sizeof...(I)>{tile<I / kNV + 1, I % kNV + 1, L>...};
  }(std::make_integer_sequence<int, kMR * kNV>{});
}

}  // namespace

constinit const std::array<TileFunction, kMR * kNV> kTiles[2] = {tiles<ALayout::rows>(), tiles<ALayout::panel>()};

template <class T>
void pack_b(int64_t kc, int64_t n, const T* b, int64_t ldb, bool transposed, float* out) {
  if (transposed) {
    for (int64_t j = 0; j < n; j += kNR) {
      const int vectors = panel_vectors(n, j);
      for (int v = 0; v < vectors; v++) {
        const int64_t col = j + v * W;
        pack_b_transposed(kc, n - col < W ? n - col : W, b + col * ldb, ldb, out + j * kc + v * W, vectors * W);
      }
    }
    return;
  }
  // Row by row, so that B is read as it lies.
  const int64_t whole = n / kNR * kNR;
  const int tail = whole < n ? panel_vectors(n, whole) * W : 0;
  for (int64_t k = 0; k < kc; k++) {
    const T* row = b + k * ldb;
    for (int64_t j = 0; j < whole; j += kNR) {
#pragma GCC unroll 4
      for (int v = 0; v < kNV; v++) store(out + j * kc + k * kNR + v * W, load(row + j + v * W));
    }
    for (int64_t j = whole; j < n; j += W) {
      float* p = out + whole * kc + k * tail + (j - whole);
      store(p, n - j >= W ? load(row + j) : load_n(row + j, int(n - j)));
    }
  }
}

template void pack_b(int64_t, int64_t, const float*, int64_t, bool, float*);
template void pack_b(int64_t, int64_t, const bf16*, int64_t, bool, float*);

template <class T>
void pack_a(int64_t kc, int64_t m, const T* a, int64_t lda, bool transposed, float* out) {
  if (!transposed) {
    for (int64_t i = 0; i < m; i++)
      for_vectors(kc, [&](int64_t k, auto n) {
        store_n(out + i * packed_a_stride(kc) + k, load_n(a + i * lda + k, n), n);
      });
    return;
  }
  for (int64_t k = 0; k < kc; k++) {
    const T* row = a + k * lda;
    // Rows lie far apart, where the hardware sees no stream. Asking past the end of A is harmless.
    for (int64_t i = 0; i < m; i += 64 / int64_t(sizeof(T))) __builtin_prefetch(row + 16 * lda + i);
    int64_t i = 0;
    for (; i + kMR <= m; i += kMR) {
      float* p = out + i * kc + k * kMR;
      if constexpr (std::is_same_v<T, float>) {
        std::memcpy(p, row + i, kMR * sizeof(float));
      } else {
#pragma GCC unroll 16
        for (int r = 0; r < kMR; r++) p[r] = load1(row + i + r);
      }
    }
    for (int64_t r = i; r < m; r++) out[i * kc + k * kMR + r - i] = load1(row + r);
  }
}

template void pack_a(int64_t, int64_t, const float*, int64_t, bool, float*);
template void pack_a(int64_t, int64_t, const bf16*, int64_t, bool, float*);

}  // namespace dr::DR_ISA
