#pragma once
// The canonical GEMM: what matmul, linear, attention and convolution run on.
//
//   C[m,n] = epi(m, n, sum_k A[m,k] B[k,n])      f32|bf16 for each of A, B and C; bf16 operands are widened exactly
//
// Order: chunks of 512 along K; inside a chunk an fma chain from +0 in ascending k; chunk sums are added in ascending
// order, ((s0 + s1) + s2) + ...; K == 0 gives +0. The f32 sum goes through `epi`, then is rounded once to C's type.
// Every element of C has its own chain, so tiles, threads, batch and instruction set cannot change a bit.
//
// Three layers, each usable alone:
//   tile        kMR x kNR register tile over one chunk; B from a packed panel, A in place or from a packed panel
//   gemm        one problem on the calling thread, blocked for the caches
//   gemm_batch  a batch of problems over the pool, split into blocks of rows and columns
// An operand is a matrix in memory (Operand) or anything that packs itself as one, as the patches of an image do.
//
// B is packed in panels of kNR columns, one chunk deep: panel[k*width + j], width = kNR, or for the last panel the
// number of columns left, rounded up to whole vectors (the padding is zero). A is read in place where its rows are
// contiguous f32; otherwise it is packed: bf16 rows widened one by one (row stride packed_a_stride), a transposed A in
// panels of kMR rows, panel[k*kMR + i].
//
// A tile streams its B panel from the second-level cache once and keeps all sums in registers for the whole chunk, so
// the traffic on C is one read and one write per 512 multiply-adds.

#include <array>
#include <concepts>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <type_traits>
#include <utility>

#include "kernels/core/reduce.h"
#include "kernels/core/simd.h"

namespace dr::DR_ISA {

#if defined(DR_ISA_avx512)
inline constexpr int kMR = 8, kNV = 3;         // 24 accumulators, 3 of B, broadcasts: 32 registers
inline constexpr int64_t kBlockColumns = 768;  // 1.5 MB of packed B in a second-level cache of 2 MB
#elif defined(DR_ISA_avx2)
inline constexpr int kMR = 6, kNV = 2;         // 12 accumulators, 2 of B, broadcasts: 16 registers
inline constexpr int64_t kBlockColumns = 256;  // 512 KB
#else
inline constexpr int kMR = 4, kNV = 2;
inline constexpr int64_t kBlockColumns = 128;
#endif
inline constexpr int kNR = kNV * W;
inline constexpr int kGroupRows = 6 * kMR;      // rows of A packed at a time

// ---- the register tile ----

// Where a tile finds its rows of A: in rows, a[i*lda + k], or in a packed panel, a[k*kMR + i].
enum class ALayout { rows, panel };

// c[i*ldc + j] = s, or c + s where `add`; s = the fma chain of a's row i and b's column j over kc <= 512 steps. Then
// bias[j] is added, unless bias is null.
//   b: one packed panel of width NV*W, 64-byte aligned   c: MR x NV*W f32, whole vectors
using TileFunction = void (*)(int64_t kc, const float* a, int64_t lda, const float* b, float* c, int64_t ldc, bool add,
                              const float* bias);
// By layout, then rows, then vectors. In gemm_cpu.cpp, as the packing: once for all ops.
extern const std::array<TileFunction, kMR * kNV> kTiles[2];

// The tile for MR = `rows` <= kMR and NV = `vectors` <= kNV.
DR_INLINE TileFunction tile_for(ALayout layout, int rows, int vectors) {
  return kTiles[int(layout)][size_t((rows - 1) * kNV + vectors - 1)];
}

// ---- packing ----

// out[k*stride + j] = in[j*ld + k] for j, k < W.
DR_INLINE void transpose_block(const float* in, int64_t ld, float* out, int64_t stride) {
  // Quarter q of the k's: vector i gathers rows i, i+4, i+8, ... into its 128-bit lanes, then each lane is a 4 x 4
  // transpose. Building lanes by loads leaves half of the shuffles.
#pragma GCC unroll 4
  for (int q = 0; q < W / 4; q++) {
    f32v v[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
#if defined(DR_ISA_avx512)
      const float* p = in + i * ld + 4 * q;
      __m512 x = _mm512_castps128_ps512(_mm_loadu_ps(p));
      x = _mm512_insertf32x4(x, _mm_loadu_ps(p + 4 * ld), 1);
      x = _mm512_insertf32x4(x, _mm_loadu_ps(p + 8 * ld), 2);
      v[i] = _mm512_insertf32x4(x, _mm_loadu_ps(p + 12 * ld), 3);
#elif defined(DR_ISA_avx2)
      const float* p = in + i * ld + 4 * q;
      v[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + 4 * ld), 1);
#else
      v[i] = load(in + i * ld + 4 * q);
#endif
    }
    f32v r[4];
#if defined(DR_ISA_avx512)
    const __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(v[0], v[1])),
                  b = _mm512_castps_pd(_mm512_unpackhi_ps(v[0], v[1]));
    const __m512d c = _mm512_castps_pd(_mm512_unpacklo_ps(v[2], v[3])),
                  d = _mm512_castps_pd(_mm512_unpackhi_ps(v[2], v[3]));
    r[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
    r[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
    r[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
    r[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
#elif defined(DR_ISA_avx2)
    const __m256d a = _mm256_castps_pd(_mm256_unpacklo_ps(v[0], v[1])),
                  b = _mm256_castps_pd(_mm256_unpackhi_ps(v[0], v[1]));
    const __m256d c = _mm256_castps_pd(_mm256_unpacklo_ps(v[2], v[3])),
                  d = _mm256_castps_pd(_mm256_unpackhi_ps(v[2], v[3]));
    r[0] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, c));
    r[1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, c));
    r[2] = _mm256_castpd_ps(_mm256_unpacklo_pd(b, d));
    r[3] = _mm256_castpd_ps(_mm256_unpackhi_pd(b, d));
#else
    for (int i = 0; i < 4; i++)
      for (int j = 0; j < 4; j++) r[i][j] = v[j][i];
#endif
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) store(out + (4 * q + i) * stride, r[i]);
  }
}

// One vector of columns of a transposed B: out[k*width + j] = b[j*ldb + k], j < n <= W, k < kc; zero for n <= j < W.
template <class T>
inline void pack_b_transposed(int64_t kc, int64_t n, const T* b, int64_t ldb, float* out, int64_t width) {
  alignas(64) float rows[W * W] = {}, columns[W * W];
  for (int64_t k = 0; k < kc; k += W) {
    const bool whole = k + W <= kc;
    if constexpr (std::is_same_v<T, float>) {
      if (whole && n == W) {
        // Each row is a stream of its own, too many of them for the hardware to follow.
#pragma GCC unroll 16
        for (int j = 0; j < W; j++) __builtin_prefetch(b + j * ldb + k + 64);
        transpose_block(b + k, ldb, out + k * width, width);
        continue;
      }
    }
    for (int64_t j = 0; j < n; j++)
      store(rows + j * W, whole ? load(b + j * ldb + k) : load_n(b + j * ldb + k, int(kc - k)));
    if (whole) {
      transpose_block(rows, W, out + k * width, width);
    } else {
      transpose_block(rows, W, columns, W);
      for (int64_t i = k; i < kc; i++) store(out + i * width, load(columns + (i - k) * W));
    }
  }
}

// Width in floats of the packed panel that holds columns [j, j + kNR) of n.
DR_INLINE int panel_vectors(int64_t n, int64_t j) {
  const int64_t left = n - j;
  return left >= kNR ? kNV : int((left + W - 1) / W);
}

// Packs kc <= 512 rows and n columns of B, given as b[k*ldb + j] or, transposed, as b[j*ldb + k].
// Panel p begins at out + p*kNR*kc. out: 64-byte aligned, packed_b_floats(kc, n) floats.
constexpr size_t packed_b_floats(int64_t kc, int64_t n) { return size_t((n + kNR - 1) / kNR * kNR * kc); }

template <class T>
void pack_b(int64_t kc, int64_t n, const T* b, int64_t ldb, bool transposed, float* out);

// Between rows of a packed A: whole vectors, and no power of two for a full chunk, which would crowd rows into few sets
// of the first-level cache.
constexpr int64_t packed_a_stride(int64_t kc) { return (kc + 2 * W - 1) / W * W; }

// Packs kc <= 512 columns and m rows of A. Transposed, a[k*lda + i]: panels of kMR rows, panel p from out + p*kMR*kc,
// element k*kMR + i; places for rows past m are left alone, since no tile reads them. Else a[i*lda + k]: rows,
// out[i*packed_a_stride(kc) + k].
template <class T>
void pack_a(int64_t kc, int64_t m, const T* a, int64_t lda, bool transposed, float* out);

// ---- one problem on the calling thread ----

// A matrix operand of either type: element (i, j) is data[i*ld + j], or data[j*ld + i] where transposed. What gemm asks
// of any operand: block(i, j) is the operand from row i and column j on; as A it says its layout, whether its rows are
// used in_place, and packs them; as B it packs.
struct Operand {
  const void* data;
  DType dtype;  // f32 or bf16
  int64_t ld;
  bool transposed;

  template <class T>
  const T* at(int64_t i, int64_t j) const {
    return static_cast<const T*>(data) + (transposed ? j * ld + i : i * ld + j);
  }
  Operand block(int64_t i, int64_t j) const {
    const int64_t offset = transposed ? j * ld + i : i * ld + j;
    return {static_cast<const char*>(data) + offset * int64_t(size_of(dtype)), dtype, ld, transposed};
  }

  ALayout layout() const { return transposed ? ALayout::panel : ALayout::rows; }
  bool in_place() const { return dtype == DType::f32 && !transposed; }
  void pack_as_a(int64_t m0, int64_t m, int64_t k0, int64_t kc, float* out) const {
    with_float_type(dtype, [&]<class T>(T*) { pack_a(kc, m, at<T>(m0, k0), ld, transposed, out); });
  }
  void pack_as_b(int64_t k0, int64_t kc, int64_t n0, int64_t n, float* out) const {
    with_float_type(dtype, [&]<class T>(T*) { pack_b(kc, n, at<T>(k0, n0), ld, transposed, out); });
  }
};
template <class T>
struct Matrix : Operand {
  Matrix(const T* data_, int64_t ld_, bool transposed_ = false) : Operand{data_, dtype_of<T>, ld_, transposed_} {}
};

// The epilogue that does nothing. Another one is a callable f32v(int64_t row, int64_t column, f32v value, n) over
// n <= W finished elements C[row, column ...]; n is an int or, for a whole vector, the constant of for_vectors. What it
// returns is rounded to C. It may write side outputs for those elements; it is called once for each.
struct NoEpilogue {
  DR_INLINE f32v operator()(int64_t, int64_t, f32v v, auto) const { return v; }
};
// One that adds a row of f32 to every row of C, and does no more, may say so: row_to_add(column), or null for none.
template <class E>
concept AddsRow = requires(const E& e) {
  { e.row_to_add(int64_t{}) } -> std::same_as<const float*>;
};

// Where C's rows lie: evenly, row i at i*ld. Another is an object with offsets(row, count, out), which gives the
// offsets in elements of rows row .. row + count - 1 of the whole problem.
struct EvenRows {
  int64_t ld;
  EvenRows(int64_t ld_) : ld(ld_) {}
  int64_t of_block(int64_t row) const { return row * ld; }
};

// This thread's packing memory: at least `bytes`, 64-byte aligned, kept for the next call. Contents undefined.
inline float* gemm_buffer(size_t bytes) {
  struct Buffer {
    void* data = nullptr;
    size_t size = 0;
    ~Buffer() { std::free(data); }
  };
  static thread_local Buffer buffer;
  if (buffer.size < bytes) {
    constexpr size_t kStep = size_t{1} << 16;
    std::free(buffer.data);
    buffer.size = 0;
    const size_t size = (bytes + kStep - 1) / kStep * kStep;
    buffer.data = std::aligned_alloc(4096, size);
    if (!buffer.data) throw std::bad_alloc();
    buffer.size = size;
  }
  return static_cast<float*>(buffer.data);
}

// C[m,n] = epi(row0 + m, col0 + n, (A B)[m,n]) for one M x N block; C overlaps no operand. Even rows lie at c[m*ld +
// n]; others where rows_of_c says for row0 + m.
template <class TC, class Epilogue = NoEpilogue, class A, class B, class Rows = EvenRows>
void gemm(int64_t M, int64_t N, int64_t K, const A& a_operand, const B& b_operand, TC* C, Rows rows_of_c,
          Epilogue&& epi = {}, int64_t row0 = 0, int64_t col0 = 0) {
  constexpr bool kEven = std::is_same_v<Rows, EvenRows>;
  constexpr bool kNoEpilogue = std::is_same_v<std::remove_cvref_t<Epilogue>, NoEpilogue>;
  constexpr bool kPartialInC = std::is_same_v<TC, float>;
  constexpr bool kDirect = kEven && kPartialInC && (kNoEpilogue || AddsRow<Epilogue>);  // the tile itself writes C
  if (M <= 0 || N <= 0) return;
  const bool in_place = a_operand.in_place();
  const ALayout layout = a_operand.layout();

  // Columns in blocks of equal size, whole panels each. A panel that few tiles use stays in the nearest cache if they
  // come right after it is packed.
  const int64_t most = M <= 2 * kMR ? 2 * kNR : kBlockColumns;
  const int64_t blocks = (N + most - 1) / most;
  const int64_t nc = ((N + blocks - 1) / blocks + kNR - 1) / kNR * kNR;
  const int64_t chunk = K < kChainChunk ? K : kChainChunk;
  // Sums of the chunks so far lie in C itself where it is f32, else here.
  const int64_t partial_ld = nc;
  const size_t b_floats = packed_b_floats(chunk, nc), a_floats = size_t(kGroupRows * packed_a_stride(chunk));
  const size_t partial_floats = !kPartialInC && K > kChainChunk ? size_t(M * partial_ld) : 0;
  float* const packed_b = gemm_buffer((b_floats + a_floats + partial_floats) * sizeof(float));
  float* const packed_a = packed_b + b_floats;
  float* const partial = packed_a + a_floats;
  alignas(64) float out[kMR * kNR];
  int64_t offset[kGroupRows];

  for (int64_t n0 = 0; n0 < N; n0 += nc) {
    const int64_t n_block = N - n0 < nc ? N - n0 : nc;
    for (int64_t k0 = 0; k0 == 0 || k0 < K; k0 += kChainChunk) {
      const int64_t kc = K - k0 < kChainChunk ? K - k0 : kChainChunk;
      const bool first = k0 == 0, last = k0 + kChainChunk >= K;
      b_operand.pack_as_b(k0, kc, n0, n_block, packed_b);
      for (int64_t m0 = 0; m0 < M; m0 += kGroupRows) {
        const int64_t m_group = M - m0 < kGroupRows ? M - m0 : kGroupRows;
        if (!in_place) a_operand.pack_as_a(m0, m_group, k0, kc, packed_a);
        if constexpr (!kEven) rows_of_c.offsets(row0 + m0, m_group, offset);
        for (int64_t i = 0; i < m_group; i += kMR) {
          const int rows = m_group - i < kMR ? int(m_group - i) : kMR;
          int64_t lda = packed_a_stride(kc);
          const float* a = packed_a + i * (layout == ALayout::panel ? kc : lda);
          if constexpr (requires { a_operand.ld; })
            if (in_place) {
              a = a_operand.template at<float>(m0 + i, k0), lda = a_operand.ld;
              // The rows of the next tile: too many streams for the hardware to follow. Asking past the end is harmless.
              for (int64_t r = kMR; r < 2 * kMR; r++)
                for (int64_t k = 0; k < kc; k += 64 / int64_t(sizeof(float))) __builtin_prefetch(a + r * lda + k, 0, 2);
            }
          for (int64_t j = 0; j < n_block; j += kNR) {
            const int vectors = panel_vectors(n_block, j);
            const TileFunction run = tile_for(layout, rows, vectors);
            const float* b = packed_b + j * kc;
            const int64_t row = m0 + i, col = n0 + j;
            const int64_t columns = n_block - j < kNR ? n_block - j : kNR;
            const bool whole = columns == vectors * W;
            if constexpr (kDirect) {
              if (whole) {
                const float* bias = nullptr;
                if constexpr (!kNoEpilogue) bias = last ? epi.row_to_add(col0 + col) : nullptr;
                run(kc, a, lda, b, C + row * rows_of_c.ld + col, rows_of_c.ld, !first, bias);
                continue;
              }
            }
            run(kc, a, lda, b, out, kNR, false, nullptr);
            for (int r = 0; r < rows; r++) {
              TC* c;
              if constexpr (kEven) c = C + (row + r) * rows_of_c.ld + col;
              else c = C + offset[i + r] + col;
              float* sum;
              if constexpr (kPartialInC) sum = c;
              else sum = partial + (row + r) * partial_ld + j;
              for_vectors(columns, [&](int64_t x, auto n) {
                f32v v = load(out + r * kNR + x);
                if (!first) v = load_n(sum + x, n) + v;
                if (last) store_n(c + x, epi(row0 + row + r, col0 + col + x, v, n), n);
                else store_n(sum + x, v, n);
              });
            }
          }
        }
      }
    }
  }
}

// ---- a batch of problems over the pool ----

// One problem of a batch: C[m,n] = epi(m, n, (A B)[m,n]).
template <class TC, class Epilogue = NoEpilogue, class A = Operand, class B = Operand, class Rows = EvenRows>
struct Problem {
  A a;
  B b;
  TC* c;
  Rows rows;
  Epilogue epi{};
};

// How a problem is cut for `threads`: into row_blocks x column_blocks of whole tiles. Any cut gives the same bits.
struct Split {
  int64_t row_blocks = 1, column_blocks = 1;
};
inline Split split_for(int64_t batch, int64_t M, int64_t N, int threads) {
  // A block of m x n costs m*n multiply-adds and packs n columns of B and (at worst) m rows of A; packing one element
  // takes about as long as 24 multiply-adds. The blocks that the busiest thread gets decide.
  constexpr int64_t kPack = 24;
  const int64_t limit = batch >= 4 * threads ? 1 : 4 * int64_t(threads);
  const int64_t tile_rows = (M + kMR - 1) / kMR, tile_columns = (N + kNR - 1) / kNR;
  Split best, finest;
  auto search = [&](auto&& take) {
    for (int64_t r = 1; r <= limit && r <= tile_rows; r++)
      for (int64_t c = 1; r * c <= limit && c <= tile_columns; c++) {
        const int64_t m = (tile_rows + r - 1) / r * kMR, n = (tile_columns + c - 1) / c * kNR;
        const int64_t rounds = (batch * r * c + threads - 1) / threads;
        take(Split{r, c}, rounds * (m * n + kPack * (m + n)));
      }
  };
  int64_t least = INT64_MAX;
  search([&](Split s, int64_t cost) {
    if (cost < least) least = cost, best = s;
  });
  if (threads == 1) return best;
  // Within 2 % of the best, the finest: it evens out cores of unequal speed.
  finest = best;
  search([&](Split s, int64_t cost) {
    if (cost <= least + least / 50 && s.row_blocks * s.column_blocks > finest.row_blocks * finest.column_blocks)
      finest = s;
  });
  return finest;
}

// problem(i) returns the Problem of index i < batch; all have the same M, N and K.
template <class F>
void gemm_batch(const Context& ctx, int64_t batch, int64_t M, int64_t N, int64_t K, F&& problem) {
  if (batch <= 0 || M <= 0 || N <= 0) return;
  constexpr int64_t kSmall = 1 << 16;  // multiply-adds below which handing work out costs more than doing it
  const int64_t work = M * N * (K > 0 ? K : 1);
  const int64_t grain = work < kSmall ? kSmall / work : 1;
  const Split split = grain > 1 ? Split{} : split_for(batch, M, N, ctx.threads());
  const int64_t tile_rows = (M + kMR - 1) / kMR, tile_columns = (N + kNR - 1) / kNR;
  const int64_t per_problem = split.row_blocks * split.column_blocks;
  ctx.parallel(batch * per_problem, grain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; t++) {
      const auto p = problem(t / per_problem);
      // Blocks differ by one tile at most.
      const int64_t r = t % per_problem / split.column_blocks, c = t % split.column_blocks;
      const int64_t m0 = r * tile_rows / split.row_blocks * kMR, m1 = (r + 1) * tile_rows / split.row_blocks * kMR;
      const int64_t n0 = c * tile_columns / split.column_blocks * kNR,
                    n1 = (c + 1) * tile_columns / split.column_blocks * kNR;
      gemm((m1 < M ? m1 : M) - m0, (n1 < N ? n1 : N) - n0, K, p.a.block(m0, 0), p.b.block(0, n0),
           p.c + p.rows.of_block(m0) + n0, p.rows, p.epi, m0, n0);
    }
  });
}

}  // namespace dr::DR_ISA
