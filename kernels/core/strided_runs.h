#pragma once
// Views of one shape walked together, run by run: a run is what lies contiguous in all of them. For elementwise and
// copying ops that take any strides. Last include of a `_cpu.cpp`, as simd.h.

#include <algorithm>
#include <array>

#include "kernels/core/stream.h"

namespace dr::DR_ISA {

inline constexpr int64_t kRunPiece = 16384;  // elements of parallel work: a few microseconds

// A view's first `axes` axes: where each of its blocks of the other axes begins. At least one axis, of size 1.
inline View leading_axes(const View& v, int axes) {
  View l = v;
  l.sizes = Sizes{1};
  l.strides[0] = 0;
  for (int i = 0; i < axes; i++) l.sizes.d[i] = v.size(i), l.strides[size_t(i)] = v.stride(i);
  l.sizes.rank = std::max(axes, 1);
  return l;
}

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

// f(offsets, elements) over all elements of Views of one shape, in parallel; `work` is the cost of one element, in
// elements. The fence where f streams.
template <size_t N, class F>
void for_runs(const Context& ctx, const std::array<View, N>& views, bool stream, F&& f, int64_t work = 1) {
  if (views[0].count() == 0) return;
  const StridedRuns<N> runs(views);
  const int64_t length = runs.length(), piece = std::max<int64_t>(1, kRunPiece / std::max<int64_t>(work, 1)),
                per_run = (length + piece - 1) / piece;
  ctx.parallel(runs.count() * per_run, std::max<int64_t>(1, piece / length), [&](int64_t begin, int64_t end) {
    typename StridedRuns<N>::Cursor cursor(runs, begin / per_run);
    int64_t from = begin % per_run * piece;
    for (int64_t p = begin; p < end; p++) {
      auto at = cursor.at();
      for (int64_t& a : at) a += from;
      f(at, std::min(piece, length - from));
      from += piece;
      if (from >= length) from = 0, cursor.next();
    }
    stream_fence(stream);
  });
}

// ---- bytes ----

// Whole cache lines past the caches where `stream`; the caller fences.
inline void copy_bytes(std::byte* to, const std::byte* from, size_t n, bool stream) {
  constexpr size_t kLine = 64;
  if (!stream || n < 4 * kLine) {
    std::memcpy(to, from, n);
    return;
  }
  size_t i = (kLine - reinterpret_cast<uintptr_t>(to) % kLine) % kLine;
  std::memcpy(to, from, i);
  for (; i + kLine <= n; i += kLine) {
    read_ahead(from + i);
#pragma GCC unroll 4
    for (size_t j = 0; j < kLine; j += sizeof(f32v))
      put(reinterpret_cast<float*>(to + i + j), load(reinterpret_cast<const float*>(from + i + j)),
          std::integral_constant<int, W>{}, true);
  }
  std::memcpy(to + i, from + i, n - i);
}

// to = from, of one shape and dtype.
inline void copy_view(const Context& ctx, const View& from, const View& to) {
  const int64_t width = int64_t(size_of(from.dtype));
  const bool stream = to.bytes() >= kStreamBytes;
  for_runs<2>(ctx, {from, to}, stream, [&](const auto& at, int64_t n) {
    copy_bytes(static_cast<std::byte*>(to.data) + at[1] * width,
               static_cast<const std::byte*>(from.data) + at[0] * width, size_t(n * width), stream);
  });
}

// Every byte zero.
inline void clear_view(const Context& ctx, const View& v) {
  const int64_t width = int64_t(size_of(v.dtype));
  for_runs<1>(ctx, {v}, false, [&](const auto& at, int64_t n) {
    std::memset(static_cast<std::byte*>(v.data) + at[0] * width, 0, size_t(n * width));
  });
}

}  // namespace dr::DR_ISA
