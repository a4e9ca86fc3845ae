#include "kernels/max_pool2d/max_pool2d.h"

#include "kernels/core/stream.h"
#include "kernels/core/strips.h"
#include "kernels/core/total_order.h"

namespace dr {
namespace DR_ISA {
namespace {

template <class T>
T* pixel(const View& v, int64_t n, int64_t h, int64_t w) {
  return static_cast<T*>(v.data) + n * v.stride(0) + h * v.stride(1) + w * v.stride(2);
}

DR_INLINE i32v load_places(const int32_t* p, int n) {
  i32v v{};
  std::memcpy(&v, p, size_t(n) * sizeof(int32_t));
  return v;
}

// f(n, i) for every line of a tensor (N,H,..), each of about `work` elements to read.
template <class F>
void for_lines(Context& ctx, const View& v, int64_t work, bool stream, F&& f) {
  ctx.parallel(v.size(0) * v.size(1), std::max<int64_t>(1, 16384 / (work + 1)), [&](int64_t begin, int64_t end) {
    for (int64_t line = begin; line < end; line++) f(line / v.size(1), line % v.size(1));
    stream_fence(stream);
  });
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void MaxPool2d::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const Sizes x = in.x.sizes, y = out.y.sizes;
  if (out.y.count() == 0) return;
  const AxisRuns rows = AxisRuns::windows(along_h(x, y)), columns = AxisRuns::windows(along_w(x, y));
  const bool stream = streams(out.y);
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    for_lines(ctx, out.y, rows.longest * columns.longest * y[2] * y[3], stream, [&](int64_t n, int64_t oh) {
      const AxisRuns::Run down = rows[oh];
      for (int64_t ow = 0; ow < y[2]; ow++) {
        const AxisRuns::Run across = columns[ow];
        const int64_t top = oh * stride.h - padding.h, left = ow * stride.w - padding.w;
        T* const to = pixel<T>(out.y, n, oh, ow);
        int32_t* const places = pixel<int32_t>(out.index, n, oh, ow);
        for_strips(y[3], [&]<int V>(int64_t c, std::integral_constant<int, V>, auto lanes) {
          i32v best[V], at[V] = {};
          for (int v = 0; v < V; v++) best[v] = splat_i(INT32_MIN);  // below every key
          for (int64_t h = down.begin; h < down.end; h++) {
            const T* p = pixel<const T>(in.x, n, h, across.begin) + c;
            i32v place = splat_i(int32_t((h - top) * kernel.w + across.begin - left));
            for (int64_t w = across.begin; w < across.end; w++, p += in.x.stride(2), place += 1) {
#pragma GCC unroll 4
              for (int v = 0; v < V; v++) {
                const i32v key = order_key(load_n(p + v * W, lanes)), better = key > best[v];
                best[v] = better ? key : best[v];  // the first of equal keys stays
                at[v] = better ? place : at[v];
              }
            }
          }
          for (int v = 0; v < V; v++) {
            put(to + c + v * W, from_order_key(best[v]), lanes, stream);
            std::memcpy(places + c + v * W, &at[v], size_t(lanes) * sizeof(int32_t));
          }
        });
      }
    });
  });
}

template <>
void MaxPool2d::backward<kBackend>(Context& ctx, const In&, const Out& saved, const OutGrad& dy,
                                   const Grad& grad) const {
  if (!grad.x || grad.x.count() == 0) return;
  const Sizes x = grad.x.sizes, y = dy.y.sizes;
  const AxisRuns rows = AxisRuns::holders(along_h(x, y)), columns = AxisRuns::holders(along_w(x, y));
  const bool stream = streams(grad.x);
  with_float_type(grad.x.dtype, [&]<class T>(T*) {
    for_lines(ctx, grad.x, rows.longest * columns.longest * x[2] * x[3], stream, [&](int64_t n, int64_t h) {
      const AxisRuns::Run down = rows[h];
      for (int64_t w = 0; w < x[2]; w++) {
        const AxisRuns::Run across = columns[w];
        T* const to = pixel<T>(grad.x, n, h, w);
        for_strips(x[3], [&]<int V>(int64_t c, std::integral_constant<int, V>, auto lanes) {
          f32v sum[V] = {};
          for (int64_t oh = down.begin; oh < down.end; oh++)
            for (int64_t ow = across.begin; ow < across.end; ow++) {
              const int64_t kh = h + padding.h - oh * stride.h, kw = w + padding.w - ow * stride.w;
              const i32v own = splat_i(int32_t(kh * kernel.w + kw));
              const T* const d = pixel<const T>(dy.y, n, oh, ow) + c;
              const int32_t* const places = pixel<const int32_t>(saved.index, n, oh, ow) + c;
#pragma GCC unroll 4
              for (int v = 0; v < V; v++) {
                // A sum that starts at +0 never becomes -0, so adding +0 changes nothing.
                const i32v won = load_places(places + v * W, lanes) == own;
                sum[v] += won ? load_n(d + v * W, lanes) : f32v{};
              }
            }
          for (int v = 0; v < V; v++) put(to + c + v * W, sum[v], lanes, stream);
        });
      }
    });
  });
}

}  // namespace dr
