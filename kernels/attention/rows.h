#pragma once
// Attention for a block of query rows of one head: what attention and attention_decode share, so that decoding a frame
// and a pass over the whole sequence do the same operations. Last include of a `_cpu.cpp`, as simd.h.
//
// Keys are laid out twice, in frames of S tokens: as key panels, K transposed, from which scores are computed
// (each lane a key), and as rows (each lane a channel), along which a chain over keys runs. All rows of a frame see the
// same frames, so scores of a block form a dense matrix: s[r*ld + n], n the key number of the contract.

#include "kernels/attention/layout.h"
#include "kernels/core/work_items.h"

#include "kernels/core/gemm.h"
#include "kernels/core/softmax_row.h"

namespace dr::DR_ISA {

// ---- the register tile ----

#if defined(DR_ISA_avx512)
inline constexpr int kTileRows = 6, kTileVectors = 4;  // 24 sums, 4 of b, a broadcast; 64 channels are 4 vectors
#elif defined(DR_ISA_avx2)
inline constexpr int kTileRows = 6, kTileVectors = 2;
#else
inline constexpr int kTileRows = 4, kTileVectors = 2;
#endif

// c[i*ldc + j] = the fma chain over k < depth of a(i,k) * b[k*ldb + j], from +0 or, to go on with one, from c.
// a(i,k) is a[i*lda + k], or a[k*lda + i] where kColumns. Unlike the tile of gemm.h it can go on with a chain: a chain
// over keys or queries outlasts the block of them that the caches hold.
template <int MR, int NV, bool kColumns>
__attribute__((noinline)) void chain_tile(int64_t depth, const float* a, int64_t lda, const float* b, int64_t ldb,
                                          float* c, int64_t ldc, bool go_on) {
  f32v sum[MR][NV] = {};
  // The next tile is most often the one below, and its sums lie in the second-level cache.
#pragma GCC unroll 8
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) __builtin_prefetch(c + (MR + i) * ldc + j * W, 1);
  if (go_on) {
#pragma GCC unroll 8
    for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
      for (int j = 0; j < NV; j++) sum[i][j] = load(c + i * ldc + j * W);
  }
  for (int64_t k = 0; k < depth; k++) {
    f32v row[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) row[j] = load(b + j * W);
#pragma GCC unroll 8
    for (int i = 0; i < MR; i++) {
      const f32v ai = splat(kColumns ? a[i] : a[i * lda]);
#pragma GCC unroll 4
      for (int j = 0; j < NV; j++) sum[i][j] = fma(ai, row[j], sum[i][j]);
    }
    a += kColumns ? lda : 1;
    b += ldb;
  }
#pragma GCC unroll 8
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) store(c + i * ldc + j * W, sum[i][j]);
}

template <bool kColumns>
DR_INLINE auto chain_tile_for(int rows, int vectors) {
  using Function = void (*)(int64_t, const float*, int64_t, const float*, int64_t, float*, int64_t, bool);
  static constexpr auto table = []<int... I>(std::integer_sequence<int, I...>) {
    return std::array<Function, sizeof...(I)>{chain_tile<I / kTileVectors + 1, I % kTileVectors + 1, kColumns>...};
  }(std::make_integer_sequence<int, kTileRows * kTileVectors>{});
  return table[size_t((rows - 1) * kTileVectors + vectors - 1)];
}

// chain_tile for any number of rows and vectors. b and c have whole vectors of columns.
template <bool kColumns>
inline void chain_product(int64_t rows, int64_t vectors, int64_t depth, const float* a, int64_t lda, const float* b,
                          int64_t ldb, float* c, int64_t ldc, bool go_on) {
  for (int64_t v = 0; v < vectors; v += kTileVectors) {
    const int nv = vectors - v < kTileVectors ? int(vectors - v) : kTileVectors;
    for (int64_t r = 0; r < rows; r += kTileRows) {
      const int mr = rows - r < kTileRows ? int(rows - r) : kTileRows;
      const float* const ar = a + r * (kColumns ? 1 : lda);
      chain_tile_for<kColumns>(mr, nv)(depth, ar, lda, b + v * W, ldb, c + r * ldc + v * W, ldc, go_on);
    }
  }
}

// ---- layouts ----

constexpr int64_t whole_vectors(int64_t n) { return (n + W - 1) / W; }

// One head of a (B,L,H,D) tensor, or of one slot (B,1,S,H,D) of a cache: row t is data + t*stride.
template <class T>
struct HeadRows {
  T* data;
  int64_t stride;
  T* row(int64_t t) const { return data + t * stride; }
};
template <class T>
inline HeadRows<T> head_rows(const View& v, int64_t sample, int64_t head) {
  return {static_cast<T*>(v.data) + sample * v.stride(0) + head * v.stride(-2), v.stride(-3)};
}

// Rows of a head lie far apart, where the hardware sees no stream: asks for the row kAhead rows later. Asking past the
// end is harmless.
template <class T>
DR_INLINE void prefetch_row(const T* row, int64_t stride, int64_t width) {
  constexpr int64_t kAhead = 12;
  for (int64_t d = 0; d < width; d += 64 / int64_t(sizeof(T))) __builtin_prefetch(row + kAhead * stride + d);
}

// `rows` rows widened, each padded with zeros to whole vectors.
template <class T>
inline void pack_rows(HeadRows<const T> in, int64_t begin, int64_t rows, const HeadShape& s, float* out) {
  for (int64_t r = 0; r < rows; r++) {
    prefetch_row(in.row(begin + r), in.stride, s.width);
    for_vectors(s.width, [&](int64_t d, auto n) { store(out + r * s.row() + d, load_n(in.row(begin + r) + d, n)); });
  }
}

// scale * the rows, rounded to T.
template <class T>
inline void store_rows(const float* in, float scale, HeadRows<T> out, int64_t begin, int64_t rows, const HeadShape& s) {
  for (int64_t r = 0; r < rows; r++) {
    prefetch_row(out.row(begin + r), out.stride, s.width);
    for_vectors(s.width, [&](int64_t d, auto n) {
      store_n(out.row(begin + r) + d, splat(scale) * load(in + r * s.row() + d), n);
    });
  }
}

// The panels of one frame whose tokens begin at row `begin`: groups of up to kTileVectors vectors of keys, each group
// out[d*group_width + key]; keys past the last are zero.
template <class T>
inline void pack_panels(HeadRows<const T> in, int64_t begin, const HeadShape& s, float* out) {
  const int64_t vectors = whole_vectors(s.tokens);
  for (int64_t v = 0; v < vectors; v++) {
    const int64_t group = v / kTileVectors * kTileVectors;
    const int64_t group_width = (vectors - group < kTileVectors ? vectors - group : kTileVectors) * W;
    const int64_t keys = s.tokens - v * W < W ? s.tokens - v * W : W;
    for (int64_t j = 0; j < keys; j++) prefetch_row(in.row(begin + v * W + j), in.stride, s.width);
    float* const vector = out + group * W * s.width + (v - group) * W;
    pack_b_transposed(s.width, keys, in.row(begin + v * W), in.stride, vector, group_width);
  }
}

// ---- scores ----

// s[r*ld + n] = chain(d, q k), not yet scaled, for the keys of the visible frames. q: packed rows.
inline void score_block(int64_t rows, const float* q, const float* panels, const VisibleFrames& visible,
                        const HeadShape& s, float* out, int64_t ld) {
  const int64_t vectors = whole_vectors(s.tokens);
  int64_t n = 0;
  for (const FrameRange& range : visible)
    for (int64_t f = range.begin; f < range.end; f++, n += s.tokens)
      for (int64_t v = 0; v < vectors; v += kTileVectors) {
        // What a frame's last vector writes past its last key, the next frame overwrites.
        const int64_t nv = vectors - v < kTileVectors ? vectors - v : kTileVectors;
        const float* const panel = panels + f * s.panel() + v * W * s.width;
        chain_product<false>(rows, nv, s.width, q, s.row(), panel, nv * W, out + n + v * W, ld, false);
      }
}

// s becomes p; returns the row's maximum and denominator.
inline SoftmaxRow softmax_in_place(float* s, int64_t count, float scale) {
  const f32v sc = splat(scale);
  const SoftmaxRow row = softmax_row(
      count, [&](int64_t i, auto n) { return sc * load_n(s + i, n); },
      [&](int64_t i, f32v e, auto n) { store_n(s + i, e, n); });
  const RowDivisor divide(row.den);
  for_vectors(count, [&](int64_t i, auto n) { store_n(s + i, divide(load_n(s + i, n)), n); });
  return row;
}

// ---- chains over keys ----

inline constexpr int64_t kKeyBlock = 128;  // keys whose rows lie in the first-level cache: 32 KB of 64 channels

inline void add_rows(float* total, const float* chunk, int64_t count, bool first) {
  for (int64_t i = 0; i < count; i += W) store(total + i, first ? load(chunk + i) : load(total + i) + load(chunk + i));
}

// out[r*row + d] = chain(n, a[r*ld + n] * the n-th visible key's row[d]). out and chunk: rows * s.row() floats.
inline void chain_over_keys(int64_t rows, const float* a, int64_t ld, const float* key_rows,
                            const VisibleFrames& visible, const HeadShape& s, float* out, float* chunk) {
  const int64_t row = s.row(), keys = visible.frames() * s.tokens;
  float* const sum = keys <= kChainChunk ? out : chunk;
  int64_t n = 0;
  for (const FrameRange& range : visible)
    for (int64_t k = range.begin * s.tokens, end = range.end * s.tokens; k < end;) {
      const int64_t in_chunk = n % kChainChunk;
      int64_t depth = end - k < kKeyBlock ? end - k : kKeyBlock;
      depth = depth < kChainChunk - in_chunk ? depth : kChainChunk - in_chunk;
      chain_product<false>(rows, row / W, depth, a + n, ld, key_rows + k * row, row, sum, row, in_chunk > 0);
      n += depth;
      k += depth;
      if (sum != out && (n % kChainChunk == 0 || n == keys)) add_rows(out, sum, rows * row, n <= kChainChunk);
    }
}

// ---- forward ----

// y of `rows` queries from row `begin` on, which see the same frames; maxima and denominators unless null.
template <class T>
inline void forward_block(HeadRows<const T> q, HeadRows<T> y, int64_t begin, int64_t rows, const VisibleFrames& visible,
                          const HeadShape& s, float scale, const ForwardBuffers& buffer, float* max, float* den) {
  const int64_t keys = visible.frames() * s.tokens, ld = s.score_stride();
  pack_rows(q, begin, rows, s, buffer.q);
  score_block(rows, buffer.q, buffer.key_panels, visible, s, buffer.scores, ld);
  for (int64_t r = 0; r < rows; r++) {
    const SoftmaxRow row = softmax_in_place(buffer.scores + r * ld, keys, scale);
    if (max) max[r] = row.max;
    if (den) den[r] = row.den;
  }
  chain_over_keys(rows, buffer.scores, ld, buffer.value_rows, visible, s, buffer.out, buffer.chunk);
  store_rows(buffer.out, 1.f, y, begin, rows, s);
}

// ---- work division ----

// Whole heads where they divide evenly over the threads; else so many shares of a head, each of which lays its keys out
// for itself.
inline int64_t shares_of_a_head(int64_t items, int threads) {
  return items % threads == 0 || items >= 4 * threads ? 1 : (4 * threads + items - 1) / items;
}

template <class Buffers>
inline Buffers buffers_of(const Context& ctx, const HeadShape& s, int64_t slot) {
  const size_t bytes = scratch_per_thread<Buffers>(s);
  Carver c{ctx.scratch_as<float>(bytes / sizeof(float), size_t(slot) * bytes)};
  return Buffers(s, c);
}

}  // namespace dr::DR_ISA
