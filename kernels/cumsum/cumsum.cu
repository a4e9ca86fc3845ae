#include "kernels/cumsum/cumsum.h"

#include "kernels/core/gpu_row_tiles.h"
#include "kernels/core/gpu_strided.h"

namespace dr {
namespace DR_BACKEND {
namespace {

// x as (outer, n, inner), the outer ones where `offset` says; y the same, packed.
template <class T>
struct Chains {
  const T* x;
  T* y;
  StridedIndex<1> offset;
  int64_t n, inner, step;  // of x, from one element of a chain to the next
  bool reverse;

  // A chain down a column, by one thread.
  DR_DEVICE void operator()(int64_t chain) const {
    constexpr int kAtOnce = 8;  // loads under way together
    const int64_t o = chain / inner, c = chain % inner, first = reverse ? n - 1 : 0, direction = reverse ? -1 : 1;
    const T* from = x + offset(o)[0] + first * step + c;
    T* to = y + (o * n + first) * inner + c;
    const int64_t from_step = direction * step, to_step = direction * inner;
    float sum = 0;
    for (int64_t i = 0; i < n; i += kAtOnce) {
      float v[kAtOnce];
      DR_UNROLL
      for (int j = 0; j < kAtOnce; j++) v[j] = i + j < n ? load1(from + (i + j) * from_step) : 0.f;
      DR_UNROLL
      for (int j = 0; j < kAtOnce; j++) {
        sum = sum + v[j];
        if (i + j < n) store1(to + (i + j) * to_step, sum);
      }
    }
  }

  // Chains along 32 contiguous rows, by one group.
  DR_DEVICE void operator()(const RowWalk& walk, RowTile* tile) const {
    const int64_t o = walk.first + (lane_index() < walk.rows ? lane_index() : 0);
    const int64_t from = offset(o)[0], to = o * n, tiles = (n + kGroup - 1) / kGroup;
    float sum = 0;
    for (int64_t t = 0; t < tiles; t++) {
      const int64_t i = (reverse ? tiles - 1 - t : t) * kGroup;
      const int columns = n - i < kGroup ? int(n - i) : kGroup;
      tile->load(x, from, walk.rows, i, columns);
      group_sync();  // the tile is there
      for (int k = 0; k < columns; k++) {
        float& v = (*tile)[reverse ? columns - 1 - k : k];
        sum = sum + v;
        v = sum;
      }
      group_sync();  // so are its sums
      tile->store(y, to, walk.rows, i, columns);
      group_sync();  // all have read them
    }
  }
};

template <class T>
void running_sums(const Context& ctx, int axis, bool reverse, const View& x, const View& y) {
  if (x.count() == 0) return;
  View leading = x;
  leading.sizes.rank = axis;
  int64_t inner = 1;
  for (int i = axis + 1; i < x.rank(); i++) inner *= x.size(i);
  const Chains<T> chains{static_cast<const T*>(x.data), static_cast<T*>(y.data), strided_index({leading}), x.size(axis),
                         inner, x.stride(axis), reverse};
  if (inner == 1 && x.stride(axis) == 1) for_row_walks<1>(ctx, leading.count(), chains);
  else for_each(ctx, leading.count() * inner, chains);
}

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void CumSum::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(in.x.dtype, [&]<class T>(T*) { running_sums<T>(ctx, axis_of(in.x.rank()), reverse, in.x, out.y); });
}

template <>
void CumSum::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  if (!grad.x) return;
  with_float_type(in.x.dtype, [&]<class T>(T*) { running_sums<T>(ctx, axis_of(in.x.rank()), !reverse, dy.y, grad.x); });
}

}  // namespace dr
