#include "kernels/avg_pool2d/avg_pool2d.h"

#include "kernels/core/reduce.h"
#include "kernels/core/stream.h"
#include "kernels/core/strips.h"

namespace dr {
namespace DR_ISA {
namespace {

template <class T>
T* pixel(const View& v, int64_t n, int64_t h, int64_t w) {
  return static_cast<T*>(v.data) + n * v.stride(0) + h * v.stride(1) + w * v.stride(2);
}

// to[n,i,j,c] = finish(chain over h in rows[i], w in columns[j] of term(from's pixel, h, w), i, j).
template <class From, class To, class Term, class Finish>
void box_sums(Context& ctx, const View& from, const AxisRuns& rows, const AxisRuns& columns, const View& to,
              Term&& term, Finish&& finish) {
  const int64_t channels = to.size(3), lines = to.size(0) * rows.size();
  if (lines * channels == 0) return;
  const bool stream = streams(to);
  const bool chunked = rows.longest * columns.longest > kChainChunk;
  // Strips of channels apart where there are few lines: global pooling.
  const int64_t width = lines < 4 * ctx.threads() ? 64 : channels, strips = (channels + width - 1) / width;
  const int64_t work = rows.longest * columns.longest * columns.size() * width;
  ctx.parallel(lines * strips, std::max<int64_t>(1, 16384 / (work + 1)), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; t++) {
      const int64_t n = t / strips / rows.size(), i = t / strips % rows.size(), c0 = t % strips * width;
      const AxisRuns::Run down = rows[i];
      for (int64_t j = 0; j < columns.size(); j++) {
        const AxisRuns::Run across = columns[j];
        To* const out = pixel<To>(to, n, i, j) + c0;
        for_strips(std::min(width, channels - c0), [&]<int V>(int64_t c, std::integral_constant<int, V>, auto lanes) {
          f32v sum[V] = {}, chunk[V] = {};
          int64_t length = 0;
          for (int64_t h = down.begin; h < down.end; h++) {
            const From* p = pixel<const From>(from, n, h, across.begin) + c0 + c;
            for (int64_t w = across.begin; w < across.end; w++, p += from.stride(2)) {
              if (chunked && length++ == kChainChunk) {
                for (int v = 0; v < V; v++) sum[v] += chunk[v], chunk[v] = f32v{};
                length = 1;
              }
#pragma GCC unroll 4
              for (int v = 0; v < V; v++) chunk[v] += term(load_n(p + v * W, lanes), h, w);
            }
          }
          for (int v = 0; v < V; v++) put(out + c + v * W, finish(sum[v] + chunk[v], i, j), lanes, stream);
        });
      }
    }
    stream_fence(stream);
  });
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void AvgPool2d::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const AxisRuns h = AxisRuns::windows(along_h(in.x.sizes, out.y.sizes));
  const AxisRuns w = AxisRuns::windows(along_w(in.x.sizes, out.y.sizes));
  auto count = [&](int64_t i, int64_t j) {
    return splat(float(count_include_pad ? int64_t{kernel.h} * kernel.w : h[i].count() * w[j].count()));
  };
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    box_sums<T, T>(ctx, in.x, h, w, out.y, [](f32v v, int64_t, int64_t) { return v; },
                   [&](f32v v, int64_t i, int64_t j) { return v / count(i, j); });
  });
}

template <>
void AvgPool2d::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  if (!grad.x) return;
  const WindowAxis down = along_h(in.x.sizes, dy.y.sizes), across = along_w(in.x.sizes, dy.y.sizes);
  const AxisRuns h = AxisRuns::windows(down), w = AxisRuns::windows(across);
  const AxisRuns to_h = AxisRuns::holders(down), to_w = AxisRuns::holders(across);
  auto quotient = [&](f32v v, int64_t i, int64_t j) {
    return v / splat(float(count_include_pad ? int64_t{kernel.h} * kernel.w : h[i].count() * w[j].count()));
  };
  auto itself = [](f32v v, int64_t, int64_t) { return v; };
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    if (!overlapping()) {
      box_sums<T, T>(ctx, dy.y, to_h, to_w, grad.x, quotient, itself);
      return;
    }
    const View quotients(ctx.scratch_as<float>(size_t(dy.y.count())), DType::f32, dy.y.sizes);
    AxisRuns every_h, every_w;
    for (int64_t i = 0; i < down.count; i++) every_h.add({i, i + 1});
    for (int64_t j = 0; j < across.count; j++) every_w.add({j, j + 1});
    box_sums<T, float>(ctx, dy.y, every_h, every_w, quotients, quotient, itself);
    box_sums<float, T>(ctx, quotients, to_h, to_w, grad.x, itself, itself);
  });
}

}  // namespace dr
