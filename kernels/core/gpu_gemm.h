#pragma once
// The canonical GEMM on a device: what core/gemm.h is for the CPU, with its order of summation.
//
//   store(batch, m, n, sum_k a(batch, m, k) b(batch, k, n))
//
// Chunks of 512 along K; inside a chunk an fma chain from +0 in ascending k; chunk sums are added in ascending order; K
// == 0 gives +0. An operand is a struct whose call operator gives an element in f32: a matrix in memory (Operand), the
// patches of an image, a product that is never stored. Where its `batch` can be called, that is called once, with the
// number of the problem, and its result given with each element in place of the number. `store` takes each element of
// the product once, likewise.
//
// A block of 256 threads makes a tile of C through shared memory, kDepth steps of K at a time; the next step's operands
// are read while the sums of this one are taken. A thread keeps kT x kT sums: of a chunk, and of the chunks before it.
// A product whose tiles are too few for the device takes its chunks side by side, in waves, where it is given scratch
// for their sums; they are then added in ascending order all the same.
// Last include of a `.cu`, as gpu.h.

#include "kernels/core/gemm_scratch.h"
#include "kernels/core/gpu_elementwise.h"
#include "kernels/core/row_groups.h"

namespace dr::DR_BACKEND {

// Where the matrices of a batch lie: by the four axes before the last two, counted in row-major order.
struct BatchOffset {
  int64_t sizes[4] = {1, 1, 1, 1}, strides[4] = {};
  DR_DEVICE int64_t operator()(int64_t i) const {
    int64_t offset = 0;
    DR_UNROLL
    for (int a = 3; a >= 0; a--) {
      if (sizes[a] == 1) continue;
      offset += i % sizes[a] * strides[a];
      i /= sizes[a];
    }
    return offset;
  }
};
inline BatchOffset batch_offset(const View& v) {
  BatchOffset b;
  for (int a = v.rank() - 3, to = 3; a >= 0; a--, to--) b.sizes[to] = v.size(a), b.strides[to] = v.stride(a);
  return b;
}

// A matrix of f32 or bf16. As A its rows are m and its columns k, as B its rows are k and its columns n: element (i, j)
// is data[i*ld + j], or data[j*ld + i] where transposed. The type is looked at with each element, which a GEMM's
// arithmetic hides; a kernel for each pair of types would be compiled four times.
struct Operand {
  const void* data;
  bool is_bf16, transposed;
  int64_t ld;
  BatchOffset batch;
  DR_DEVICE float operator()(int64_t first, int64_t i, int64_t j) const {
    const int64_t at = first + (transposed ? j * ld + i : i * ld + j);
    return is_bf16 ? load1(static_cast<const bf16*>(data) + at) : load1(static_cast<const float*>(data) + at);
  }
};
// How a matrix of `rows` x `columns` lies: (columns, rows) where transposed.
struct AsStored {
  int64_t rows, columns;
};
inline AsStored as_stored(const Operand& o, int64_t rows, int64_t columns) {
  return o.transposed ? AsStored{columns, rows} : AsStored{rows, columns};
}
inline Operand operand(const View& v, bool transposed) {
  return {v.data, v.dtype == DType::bf16, transposed, v.stride(-2), batch_offset(v)};
}

// Rounds to a matrix of f32 or bf16 in memory, after the addition of a bias to each row where there is one.
struct StoreMatrix {
  struct First {
    int64_t c, bias;
  };
  struct Place {
    BatchOffset c;
    int64_t bias_step;  // from a problem's bias to the next one's
    DR_DEVICE First operator()(int64_t i) const { return {c(i), i * bias_step}; }
  };
  void* data;
  bool is_bf16;
  int64_t ld;
  Place batch;
  const void* bias = nullptr;
  bool bias_is_bf16 = false;
  bool goes_on = false;  // with the sums of the chunks so far, which lie in the matrix, of f32

  DR_DEVICE float biased(const First& first, int64_t n, float v) const {
    if (!bias) return v;
    const int64_t at = first.bias + n;
    return v + (bias_is_bf16 ? load1(static_cast<const bf16*>(bias) + at) : static_cast<const float*>(bias)[at]);
  }
  DR_DEVICE void operator()(const First& first, int64_t m, int64_t n, float v) const {
    const int64_t at = first.c + m * ld + n;
    v = biased(first, n, v);
    if (is_bf16) store1(static_cast<bf16*>(data) + at, v);
    else store1(static_cast<float*>(data) + at, v);
  }
  DR_DEVICE void pair(const First& first, int64_t m, int64_t n, float v0, float v1) const {
    const int64_t at = first.c + m * ld + n;
    v0 = biased(first, n, v0), v1 = biased(first, n + 1, v1);
    if (is_bf16) {
      bf16* const p = static_cast<bf16*>(data) + at;
      if (reinterpret_cast<uintptr_t>(p) % 4 == 0) return store_vector(p, to_bf16(v0).bits | uint32_t(to_bf16(v1).bits) << 16);
      store1(p, v0), store1(p + 1, v1);
    } else {
      float* const p = static_cast<float*>(data) + at;
      struct alignas(8) Two { float v[2]; };
      if (reinterpret_cast<uintptr_t>(p) % 8 == 0) return store_vector(p, Two{{v0, v1}});
      p[0] = v0, p[1] = v1;
    }
  }
  DR_DEVICE float so_far(const First& first, int64_t m, int64_t n) const {
    return static_cast<const float*>(data)[first.c + m * ld + n];
  }
};
inline StoreMatrix store_matrix(const View& v) {
  return {v.data, v.dtype == DType::bf16, v.stride(-2), {batch_offset(v), 0}};
}

struct GemmShape {
  int64_t batch, m, n, k;
  bool a_along_k, b_along_k;  // A's or B's neighbours along K lie side by side
};

// Memory for the sums of chunks, of gemm_scratch_bytes; less, or none, will do.
struct GemmScratch {
  float* data = nullptr;
  int64_t floats = 0;
};
inline GemmScratch gemm_scratch(const Context& ctx, size_t byte_offset = 0) {
  if (byte_offset >= ctx.scratch.size()) return {};
  return {ctx.scratch_as<float>(0, byte_offset), int64_t((ctx.scratch.size() - byte_offset) / sizeof(float))};
}

// A product of matrices in memory; compiled once, in core/gemm.cu.
void multiply(const Context&, int64_t batch, int64_t m, int64_t n, int64_t k, const Operand& a, const Operand& b,
              const StoreMatrix& c, const GemmScratch& scratch = {});

namespace gemm_detail {

inline constexpr int kThreads = 256, kDepth = 8;

template <class O>
DR_DEVICE auto first_of(const O& o, int64_t problem) {
  if constexpr (requires { o.batch(problem); }) return o.batch(problem);
  else return problem;
}

// A thread's sums of the chunks before this one. They are looked at every 512 steps only, so where a thread has many
// they lie in shared memory, and leave the registers to what is looked at in each; AMD's devices have the registers and
// not the memory.
#if defined(DR_BACKEND_hip)
inline constexpr int kMostInRegisters = 64;
#else
inline constexpr int kMostInRegisters = 4;
#endif
template <int kCount, bool kInShared = (kCount > kMostInRegisters)>
struct Totals {
  struct Shared {};
  float v[kCount];
  DR_DEVICE explicit Totals(Shared&) {}
  DR_DEVICE float& operator[](int i) { return v[i]; }
};
template <int kCount>
struct Totals<kCount, true> {
  struct Shared {
    float v[kCount][kThreads];
  };
  float* mine;
  DR_DEVICE explicit Totals(Shared& s) : mine(&s.v[0][thread_index()]) {}
  DR_DEVICE float& operator[](int i) { return mine[i * kThreads]; }
};

template <int kTile>
struct Tiles {
  // k rows of kTile values; four more, so that a column written by one group does not fall into one bank.
  struct Step {
    float a[kDepth][kTile + 4], b[kDepth][kTile + 4];
  } steps[2];  // the one of which sums are taken, the one that is written
  [[no_unique_address]] typename Totals<(kTile / 16) * (kTile / 16)>::Shared totals;
};

// One operand's values of a step that this thread fetches: kTile * kDepth of them over all threads.
template <int kTile>
struct Fetch {
  static constexpr int kEach = kTile * kDepth / kThreads;
  float v[kEach];

  // Element e of this thread: which of the tile's rows or columns, which k.
  DR_DEVICE static void place(bool along_k, int e, int& i, int& k) {
    const int at = thread_index() + e * kThreads;
    if (along_k) i = at / kDepth, k = at % kDepth;
    else i = at % kTile, k = at / kTile;
  }
  template <class Get>
  DR_DEVICE void load(bool along_k, int64_t first, int64_t count, int64_t k0, int64_t depth, const Get& get) {
    DR_UNROLL
    for (int e = 0; e < kEach; e++) {
      int i, k;
      place(along_k, e, i, k);
      v[e] = first + i < count && k < depth ? get(first + i, k0 + k) : 0.f;
    }
  }
  DR_DEVICE void put(bool along_k, float (*tile)[kTile + 4]) const {
    DR_UNROLL
    for (int e = 0; e < kEach; e++) {
      int i, k;
      place(along_k, e, i, k);
      tile[k][i] = v[e];
    }
  }
};

// What of the product a launch makes: all of it, or the sums of chunks `first`, first + 1, ... of K, one a problem of
// each batch: sums (chunk, batch, m, n).
struct ChunkRun {
  float* sums = nullptr;
  int64_t first = 0;
};

// A problem's own m, n and k, no larger than the shape's: what of(batch) says, where Shape derives from GemmShape.
template <class Shape>
DR_DEVICE GemmShape shape_of(const Shape& shape, int64_t batch) {
  if constexpr (requires { shape.of(batch); }) return shape.of(batch);
  else return shape;
}

template <int kT, class Shape, class A, class B, class Store>
DR_KERNEL DR_THREADS(kThreads, (kT == 8 ? 1 : 8 / kT))
void gemm_canonical(Shape shape, ChunkRun run, A a, B b, Store store) {
  constexpr int kSide = 16, kTile = kSide * kT;  // 16 x 16 threads
  static_assert(kSide * kSide == kThreads);
  auto& shared = shared_memory<Tiles<kTile>>();
  const int64_t tiles_m = (shape.m + kTile - 1) / kTile, tiles_n = (shape.n + kTile - 1) / kTile;
  const int64_t block = int64_t(block_index().x), tiles = tiles_m * tiles_n;
  const int64_t tile = block % tiles, problem = block / tiles;
  const int64_t batch = run.sums ? problem % shape.batch : problem;
  const GemmShape s = shape_of(shape, batch);
  const int64_t m0 = tile / tiles_n * kTile, n0 = tile % tiles_n * kTile;
  const int64_t k_begin = run.sums ? (run.first + problem / shape.batch) * RowGroups::kChunk : 0;
  if (m0 >= s.m || n0 >= s.n || (k_begin > 0 && k_begin >= s.k)) return;
  const int64_t k_end = run.sums && k_begin + RowGroups::kChunk < s.k ? k_begin + RowGroups::kChunk : s.k;
  const int tm = thread_index() / kSide, tn = thread_index() % kSide;
  const auto batch_a = first_of(a, batch);
  const auto batch_b = first_of(b, batch);
  const auto batch_c = first_of(store, batch);
  const auto get_a = [&](int64_t i, int64_t k) { return a(batch_a, i, k); };
  const auto get_b = [&](int64_t j, int64_t k) { return b(batch_b, k, j); };
  // A thread has kV rows and columns side by side, which it reads at once.
  constexpr int kV = kT < 4 ? kT : 4;
  struct alignas(kV * sizeof(float)) Side { float v[kV]; };
  const auto row = [&](int i) { return i / kV * kV * kSide + tm * kV + i % kV; };
  const auto column = [&](int j) { return j / kV * kV * kSide + tn * kV + j % kV; };
  const auto inside = [&](int i, int j) { return m0 + row(i) < s.m && n0 + column(j) < s.n; };

  // -0 is what changes no first chunk sum that is added to it.
  Totals<kT * kT> total(shared.totals);
  float sum[kT][kT];
  DR_UNROLL
  for (int i = 0; i < kT; i++)
    DR_UNROLL
    for (int j = 0; j < kT; j++) total[i * kT + j] = s.k > 0 ? -0.f : 0.f, sum[i][j] = 0;
  if constexpr (requires { store.goes_on; }) {
    if (store.goes_on && !run.sums) {
      DR_UNROLL
      for (int i = 0; i < kT; i++)
        DR_UNROLL
        for (int j = 0; j < kT; j++)
          if (inside(i, j)) total[i * kT + j] = store.so_far(batch_c, m0 + row(i), n0 + column(j));
    }
  }
  Fetch<kTile> next_a, next_b;
  const auto load = [&](int64_t k0) {
    next_a.load(s.a_along_k, m0, s.m, k0, k_end - k0, get_a);
    next_b.load(s.b_along_k, n0, s.n, k0, k_end - k0, get_b);
  };
  const auto put = [&](auto& to) {
    next_a.put(s.a_along_k, to.a);
    next_b.put(s.b_along_k, to.b);
  };
  load(k_begin);
  put(shared.steps[0]);
  block_sync();  // the first step's operands are there
  int at = 0;
  for (int64_t k0 = k_begin; k0 < k_end; k0 += kDepth, at ^= 1) {
    const int64_t left = k_end - k0;
    if (left > kDepth) load(k0 + kDepth);
    const auto& operands = shared.steps[at];
    const auto step = [&](int k) {
      Side x[kT / kV], y[kT / kV];
      DR_UNROLL
      for (int i = 0; i < kT; i += kV) {
        x[i / kV] = load_vector<Side>(&operands.a[k][row(i)]);
        y[i / kV] = load_vector<Side>(&operands.b[k][column(i)]);
      }
      DR_UNROLL
      for (int i = 0; i < kT; i++)
        DR_UNROLL
        for (int j = 0; j < kT; j++) sum[i][j] = fma(x[i / kV].v[i % kV], y[j / kV].v[j % kV], sum[i][j]);
    };
    // Never beyond K: adding +0 would turn a sum of -0 round.
    if (left >= kDepth) {
      DR_UNROLL
      for (int k = 0; k < kDepth; k++) step(k);
    } else {
      for (int k = 0; k < int(left); k++) step(k);
    }
    if ((k0 + kDepth) % RowGroups::kChunk == 0 || left <= kDepth) {
      DR_UNROLL
      for (int i = 0; i < kT; i++)
        DR_UNROLL
        for (int j = 0; j < kT; j++) {
          total[i * kT + j] = total[i * kT + j] + sum[i][j];
          sum[i][j] = 0;
        }
    }
    if (left <= kDepth) break;
    put(shared.steps[at ^ 1]);
    block_sync();  // the next step's operands are there, and all have read this one's
  }
  DR_UNROLL
  for (int i = 0; i < kT; i++)
    DR_UNROLL
    for (int j = 0; j < kT; j++) {
      if (!inside(i, j)) continue;
      const int64_t m = m0 + row(i), n = n0 + column(j);
      if (run.sums) run.sums[(problem * shape.m + m) * shape.n + n] = total[i * kT + j];
      else store(batch_c, m, n, total[i * kT + j]);
    }
}

// Adds the sums of chunks first, first + 1, ... to those of the chunks before, which lie in `total`; stores the last
// ones'.
template <class Shape, class Store>
struct AddChunks {
  Shape shape;
  const float* sums;
  int64_t first, chunks;
  bool last;
  float* total;
  Store store;

  DR_DEVICE void operator()(int64_t i) const {
    const int64_t n = i % shape.n, m = i / shape.n % shape.m, problem = i / shape.n / shape.m;
    const GemmShape s = shape_of(shape, problem);
    if (m >= s.m || n >= s.n) return;
    const auto batch = first_of(store, problem);
    const int64_t there = (s.k + RowGroups::kChunk - 1) / RowGroups::kChunk - first;  // chunks of this problem
    float sum = first > 0 ? total[i] : 0;
    bool any = first > 0;
    if constexpr (requires { store.goes_on; })
      if (store.goes_on && !any) sum = store.so_far(batch, m, n), any = true;
    for (int64_t c = 0; c < chunks && c < there; c++, any = true) {
      const float v = sums[c * shape.batch * shape.m * shape.n + i];
      sum = any ? sum + v : v;
    }
    if (last) store(batch, m, n, sum);
    else total[i] = sum;
  }
};

// Blocks that keep a device busy. The emulator's few let small tests meet every tile, and waves.
#if defined(DR_BACKEND_simt)
inline constexpr int64_t kBusyBlocks = 4;
#else
inline constexpr int64_t kBusyBlocks = GemmWaves::kBlocks;
#endif

template <class Shape, class A, class B, class Store>
void gemm_in_waves(const Context& ctx, const Shape& s, const A& a, const B& b, const Store& store,
                   const GemmScratch& scratch) {
  const int64_t count = s.batch * s.m * s.n;
  const int64_t chunks = (s.k + RowGroups::kChunk - 1) / RowGroups::kChunk;
  const auto run = [&]<int kT>(std::integral_constant<int, kT>) {
    constexpr int64_t kTile = 16 * kT;
    const int64_t tiles = s.batch * ((s.m + kTile - 1) / kTile) * ((s.n + kTile - 1) / kTile);
    const auto start = [&](int64_t times, const ChunkRun& r) {
      launch<gemm_canonical<kT, Shape, A, B, Store>>(
          ctx, {.grid = {blocks_for(tiles * times, 1)}, .threads = kThreads, .shared = sizeof(Tiles<kTile>)}, s, r,
          a, b, store);
    };
    // As many chunks at a time as the device takes, and as many waves of as equal size as that needs.
    const int64_t most = std::min({chunks, (kBusyBlocks + tiles - 1) / tiles, scratch.floats / count - 1});
    if (most < 2) return start(1, {});
    const int64_t waves = (chunks + most - 1) / most, each = (chunks + waves - 1) / waves;
    float* const total = scratch.data + each * count;
    for (int64_t first = 0; first < chunks; first += each) {
      const int64_t n = std::min(each, chunks - first);
      start(n, {scratch.data, first});
      for_each(ctx, count, AddChunks<Shape, Store>{s, scratch.data, first, n, first + n == chunks, total, store});
    }
  };
  // The largest tile that is not half empty and of which there are enough.
  const auto suits = [&](int64_t tile) {
    const int64_t tiles = s.batch * ((s.m + tile - 1) / tile) * ((s.n + tile - 1) / tile);
    return s.m > tile / 2 && s.n > tile / 2 && tiles * (scratch.floats / count > 2 ? chunks : 1) >= kBusyBlocks;
  };
  if (suits(128)) run(std::integral_constant<int, 8>{});
  else if (suits(64)) run(std::integral_constant<int, 4>{});
  else run(std::integral_constant<int, 2>{});
}

}  // namespace gemm_detail

template <class Shape, class A, class B, class Store>
void gemm(const Context& ctx, const Shape& s, const A& a, const B& b, const Store& store,
          const GemmScratch& scratch = {}) {
  if (s.batch == 0 || s.m == 0 || s.n == 0) return;
  gemm_detail::gemm_in_waves(ctx, s, a, b, store, scratch);
}

}  // namespace dr::DR_BACKEND
