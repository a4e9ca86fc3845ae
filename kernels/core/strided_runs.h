#pragma once
// Views of any strides: several of one shape walked together, run by run, a run being what lies contiguous in all of
// them; where the blocks of one begin; copies. Last include of a `_cpu.cpp`, as simd.h.

#include <algorithm>
#include <array>

#include "kernels/core/stream.h"

namespace dr::DR_ISA {

inline constexpr int64_t kRunPiece = 16384;  // elements of parallel work: a few microseconds

// Where block `o` of a view begins, in elements: blocks are what its first `axes` axes count, in row-major order.
class BlockOffsets {
 public:
  BlockOffsets(const View& v, int axes) {
    for (int i = axes - 1; i >= 0; i--) {
      if (v.size(i) == 1) continue;
      if (axes_ > 0 && v.stride(i) == strides_[size_t(axes_ - 1)] * sizes_[size_t(axes_ - 1)]) {
        sizes_[size_t(axes_ - 1)] *= v.size(i);
      } else {
        sizes_[size_t(axes_)] = v.size(i), strides_[size_t(axes_)] = v.stride(i);
        axes_++;
      }
    }
  }
  int64_t operator()(int64_t o) const {
    if (axes_ <= 1) return o * strides_[0];
    int64_t at = 0;
    for (int i = 0; i < axes_; o /= sizes_[size_t(i)], i++) at += o % sizes_[size_t(i)] * strides_[size_t(i)];
    return at;
  }

 private:
  int axes_ = 0;  // innermost first; neighbours that are evenly spaced are one
  std::array<int64_t, kMaxRank> sizes_{}, strides_{};
};

template <size_t N>
class StridedRuns {
 public:
  using Offsets = std::array<int64_t, N>;  // elements from each View's data

  explicit StridedRuns(const std::array<View, N>& views) : sizes_(views[0].sizes) {
    for (size_t v = 0; v < N; v++) strides_[v] = views[v].strides;
    const auto contiguous = [&](int axis) {
      for (const auto& s : strides_)
        if (s[size_t(axis)] != length_) return false;
      return true;
    };
    axes_ = sizes_.rank;
    while (axes_ > 0 && (sizes_[axes_ - 1] == 1 || contiguous(axes_ - 1))) length_ *= sizes_[--axes_];
    for (int i = 0; i < axes_; i++) count_ *= sizes_[i];
  }
  int64_t count() const { return count_; }
  int64_t length() const { return length_; }  // of each run

  // Where a run begins, and the runs after it.
  class Cursor {
   public:
    Cursor(const StridedRuns& runs, int64_t run) : runs_(runs) {
      for (int i = runs.axes_ - 1; i >= 0; run /= runs.sizes_[i], i--) {
        index_[size_t(i)] = run % runs.sizes_[i];
        for (size_t v = 0; v < N; v++) at_[v] += index_[size_t(i)] * runs.strides_[v][size_t(i)];
      }
    }
    const Offsets& at() const { return at_; }
    void next() {
      for (int i = runs_.axes_ - 1; i >= 0; i--) {
        const int64_t size = runs_.sizes_[i];
        const bool carry = ++index_[size_t(i)] == size;
        const int64_t steps = carry ? 1 - size : 1;
        for (size_t v = 0; v < N; v++) at_[v] += steps * runs_.strides_[v][size_t(i)];
        if (!carry) return;
        index_[size_t(i)] = 0;
      }
    }

   private:
    const StridedRuns& runs_;
    std::array<int64_t, kMaxRank> index_{};
    Offsets at_{};
  };

 private:
  Sizes sizes_;
  std::array<std::array<int64_t, kMaxRank>, N> strides_;
  int axes_ = 0;  // leading axes that count runs
  int64_t count_ = 1, length_ = 1;
};

// f(offsets, elements) over all elements of Views of one shape, in parallel; the fence where f streams.
template <size_t N, class F>
void for_runs(const Context& ctx, const std::array<View, N>& views, bool stream, F&& f) {
  if (views[0].count() == 0) return;
  const StridedRuns<N> runs(views);
  const int64_t length = runs.length(), per_run = (length + kRunPiece - 1) / kRunPiece;
  ctx.parallel(runs.count() * per_run, std::max<int64_t>(1, kRunPiece / length), [&](int64_t begin, int64_t end) {
    typename StridedRuns<N>::Cursor cursor(runs, begin / per_run);
    int64_t from = begin % per_run * kRunPiece;
    for (int64_t p = begin; p < end; p++) {
      auto at = cursor.at();
      for (int64_t& a : at) a += from;
      f(at, std::min(kRunPiece, length - from));
      from += kRunPiece;
      if (from >= length) from = 0, cursor.next();
    }
    stream_fence(stream);
  });
}

// Columns that one thread walks down the rows of a block: many, so that rows are read as far as they go, but few enough
// to leave work for every thread. At most kWidestStrip; a multiple of 64 but for the last strip.
inline constexpr int64_t kWidestStrip = 1024;
inline int64_t strip_width(const Context& ctx, int64_t blocks, int64_t columns) {
  const int64_t wanted = blocks >= 2 * ctx.threads() ? 1 : 2 * ctx.threads();
  return std::clamp<int64_t>(columns / wanted / 64 * 64, 64, kWidestStrip);
}

// ---- bytes ----

// to[i] = line(i) for i < n: whole cache lines past the caches where `stream`, and the caller fences; `bytes(i, count)`
// writes what is no whole line.
template <class Line, class Bytes>
DR_INLINE void write_lines(std::byte* to, size_t n, bool stream, Line&& line, Bytes&& bytes) {
  constexpr size_t kLine = 64;
  if (!stream || n < 4 * kLine) return bytes(0, n);
  size_t i = (kLine - reinterpret_cast<uintptr_t>(to) % kLine) % kLine;
  bytes(0, i);
  for (; i + kLine <= n; i += kLine) {
#pragma GCC unroll 4
    for (size_t j = 0; j < kLine; j += sizeof(f32v))
      put(reinterpret_cast<float*>(to + i + j), line(i + j), std::integral_constant<int, W>{}, true);
  }
  bytes(i, n - i);
}

DR_INLINE void copy_bytes(std::byte* to, const std::byte* from, size_t bytes, bool stream) {
  write_lines(
      to, bytes, stream,
      [&](size_t i) {
        read_ahead(from + i);
        return load(reinterpret_cast<const float*>(from + i));
      },
      [&](size_t i, size_t n) { std::memcpy(to + i, from + i, n); });
}
DR_INLINE void clear_bytes(std::byte* to, size_t bytes, bool stream) {
  write_lines(
      to, bytes, stream, [](size_t) { return f32v{}; }, [&](size_t i, size_t n) { std::memset(to + i, 0, n); });
}

// Where element `offset` of a view lies.
inline std::byte* byte_at(const View& v, int64_t offset) {
  return static_cast<std::byte*>(v.data) + offset * int64_t(size_of(v.dtype));
}

// to = from, of one shape and dtype. `whole`: the tensor that `to` is a part of, whose size decides whether to stream.
inline void copy_view(const Context& ctx, const View& from, const View& to, const View& whole) {
  const bool stream = whole.bytes() >= kStreamBytes;
  for_runs<2>(ctx, {from, to}, stream, [&](const auto& at, int64_t n) {
    copy_bytes(byte_at(to, at[1]), byte_at(from, at[0]), size_t(n) * size_of(to.dtype), stream);
  });
}

inline void copy_view(const Context& ctx, const View& from, const View& to) { copy_view(ctx, from, to, to); }

// Every byte of v zero.
inline void clear_view(const Context& ctx, const View& v, const View& whole) {
  const bool stream = whole.bytes() >= kStreamBytes;
  for_runs<1>(ctx, {v}, stream,
              [&](const auto& at, int64_t n) { clear_bytes(byte_at(v, at[0]), size_t(n) * size_of(v.dtype), stream); });
}
inline void clear_view(const Context& ctx, const View& v) { clear_view(ctx, v, v); }

}  // namespace dr::DR_ISA
