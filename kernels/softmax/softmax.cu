#include "kernels/softmax/softmax.h"

#include "kernels/core/gpu_softmax_row.h"

namespace dr {
namespace DR_BACKEND {
namespace {

// y holds exp(x - max) in between where that loses nothing.
template <class T>
struct ForwardRow {
  RowsOf<const T> x;
  RowsOf<T> y;
  int64_t cols;

  DR_DEVICE void operator()(int64_t r) const {
    constexpr bool kKeep = std::is_same_v<T, float>;
    const T* const from = x.row(r);
    T* const to = y.row(r);
    const SoftmaxRow row = softmax_row(
        cols, [&](int64_t i) { return load1(from + i); },
        [&](int64_t i, float e) {
          if constexpr (kKeep) to[i] = e;
        });
    for (int64_t i = lane_index(); i < cols; i += kGroup) {
      float e;
      if constexpr (kKeep) e = to[i];
      else e = exp(load1(from + i) - row.max);
      store1(to + i, e / row.den);
    }
  }
};

template <class T>
struct BackwardRow {
  RowsOf<const T> y, dy;
  RowsOf<T> dx;
  int64_t cols;

  DR_DEVICE void operator()(int64_t r) const {
    const T *const p = y.row(r), *const d = dy.row(r);
    T* const to = dx.row(r);
    const float delta = row_reduce(cols, [&](float& acc, int64_t i) { acc = fma(load1(d + i), load1(p + i), acc); });
    for (int64_t i = lane_index(); i < cols; i += kGroup) store1(to + i, load1(p + i) * (load1(d + i) - delta));
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void Softmax::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  if (in.x.count() == 0) return;
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    for_rows(ctx, in.x.size(0), ForwardRow<T>{rows_of<const T>(in.x), rows_of<T>(out.y), in.x.size(1)});
  });
}

template <>
void Softmax::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                 const Grad& grad) const {
  if (!grad.x || in.x.count() == 0) return;
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    for_rows(ctx, in.x.size(0),
             BackwardRow<T>{rows_of<const T>(saved.y), rows_of<const T>(dy.y), rows_of<T>(grad.x), in.x.size(1)});
  });
}

}  // namespace dr
