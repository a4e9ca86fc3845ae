#include "kernels/squeeze_excite/squeeze_excite.h"

#include "kernels/core/sigmoid.h"
#include "kernels/core/stream.h"
#include "kernels/core/strips.h"
#include "kernels/linear/linear_kernels.h"

namespace dr {
namespace DR_ISA {
namespace {

// out[n,c] = finish(sum over the pixels p of image n, c, n lanes): chunks of 512, in which term(sum, n, p, c, lanes)
// folds a pixel into the chain. partial: (N, chunks, C).
template <class Term, class Finish>
void pixel_sums(Context& ctx, const PixelRows& at, float* partial, Term&& term, Finish&& finish) {
  const int64_t chunks = (at.rows + kChainChunk - 1) / kChainChunk;
  ctx.parallel(at.units * chunks, std::max<int64_t>(1, 16384 / (at.cols * std::min(at.rows, kChainChunk))),
               [&](int64_t begin, int64_t end) {
                 for (int64_t t = begin; t < end; t++) {
                   const int64_t n = t / chunks, first = t % chunks * kChainChunk,
                                 last = std::min(first + kChainChunk, at.rows);
                   for_strips(at.cols, [&]<int V>(int64_t c, std::integral_constant<int, V>, auto lanes) {
                     f32v sum[V] = {};
                     for (int64_t p = first; p < last; p++) {
#pragma GCC unroll 4
                       for (int v = 0; v < V; v++) term(sum[v], n, p, c + v * W, lanes);
                     }
                     for (int v = 0; v < V; v++) store_n(partial + t * at.cols + c + v * W, sum[v], lanes);
                   });
                 }
               });
  for (int64_t n = 0; n < at.units; n++)
    for_vectors(at.cols, [&](int64_t c, auto lanes) {
      const float* p = partial + n * chunks * at.cols + c;
      f32v sum = load_n(p, lanes);
      for (int64_t k = 1; k < chunks; k++) sum += load_n(p + k * at.cols, lanes);
      finish(n, c, sum, lanes);
    });
}

// f(n, p) for every pixel, the latest first: those are the likeliest to be in a cache still.
template <class F>
void each_pixel(Context& ctx, const PixelRows& at, bool stream, F&& f) {
  const int64_t all = at.units * at.rows - 1;
  ctx.parallel(all + 1, std::max<int64_t>(1, 16384 / at.cols), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; t++) f((all - t) / at.rows, (all - t) % at.rows);
    stream_fence(stream);
  });
}

template <class T>
T* pixel(const View& v, const PixelRows& at, int64_t n, int64_t p) {
  return static_cast<T*>(v.data) + n * at.unit_stride + p * at.row_stride;
}

// value + bias, then f.
template <class T, class F>
auto activated(const AddBias<T>& bias, F f) {
  return [bias, f](int64_t row, int64_t column, f32v v, auto n) { return f(bias(row, column, v, n)); };
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void SqueezeExcite::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  if (in.x.count() == 0) return;
  const PixelRows x = pixel_rows(in.x, 1, "squeeze_excite: x"), y = pixel_rows(out.y, 1, "squeeze_excite: y");
  const f32v count = splat(float(x.rows));
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    pixel_sums(
        ctx, x, ctx.scratch_as<float>(size_t(x.units * chunks(in.x) * x.cols)),
        [&](f32v& sum, int64_t n, int64_t p, int64_t c, auto lanes) {
          sum += load_n(pixel<const T>(in.x, x, n, p) + c, lanes);
        },
        [&](int64_t n, int64_t c, f32v sum, auto lanes) {
          store_n(out.squeeze.as<float>() + n * x.cols + c, sum / count, lanes);
        });
    with_bias(in.reduce_bias, [&](auto bias) {
      linear_product<float>(ctx, out.squeeze, in.reduce, out.hidden,
                            activated(bias, [](f32v v) { return v < 0.f ? f32v{} : v; }));
    });
    with_bias(in.expand_bias, [&](auto bias) {
      linear_product<float>(ctx, out.hidden, in.expand, out.gate, activated(bias, [](f32v v) { return sigmoid(v); }));
    });
    const bool stream = streams(out.y);
    each_pixel(ctx, x, stream, [&](int64_t n, int64_t p) {
      const float* gate = out.gate.as<float>() + n * x.cols;
      const T* from = pixel<const T>(in.x, x, n, p);
      T* to = pixel<T>(out.y, y, n, p);
      for_vectors(x.cols, [&](int64_t c, auto lanes) {
        put(to + c, load_n(from + c, lanes) * load_n(gate + c, lanes), lanes, stream);
      });
    });
  });
}

template <>
void SqueezeExcite::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dout,
                                       const Grad& grad) const {
  const PixelRows x = pixel_rows(in.x, 1, "squeeze_excite: x"), dy = pixel_rows(dout.y, 1, "squeeze_excite: dy");
  const int64_t samples = x.units, channels = x.cols, width = in.reduce.size(0);
  float* const partial = ctx.scratch_as<float>(size_t(samples * ((chunks(in.x) + 2) * channels + width)));
  float *const dz = partial + samples * chunks(in.x) * channels, *const ds = dz + samples * channels,
               *const da = ds + samples * channels;
  const View dz_view(dz, DType::f32, {samples, channels}), ds_view(ds, DType::f32, {samples, channels}),
      da_view(da, DType::f32, {samples, width});
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    const float* gate = saved.gate.as<float>();
    pixel_sums(
        ctx, x, partial,
        [&](f32v& sum, int64_t n, int64_t p, int64_t c, auto lanes) {
          sum = fma(load_n(pixel<const T>(dout.y, dy, n, p) + c, lanes), load_n(pixel<const T>(in.x, x, n, p) + c, lanes), sum);
        },
        [&](int64_t n, int64_t c, f32v sum, auto lanes) {
          const f32v g = load_n(gate + n * channels + c, lanes);
          store_n(dz + n * channels + c, sum * (g * (splat(1.f) - g)), lanes);
        });
    const bool below = grad.x || grad.reduce || grad.reduce_bias;
    linear_gradients(ctx, dz, channels, saved.hidden, in.expand, below ? da_view : View{}, grad.expand,
                     grad.expand_bias);
    if (!below) return;
    const float* hidden = saved.hidden.as<float>();
    for_vectors(samples * width, [&](int64_t i, auto n) {
      store_n(da + i, load_n(hidden + i, n) <= 0.f ? f32v{} : load_n(da + i, n), n);
    });
    linear_gradients(ctx, da, width, saved.squeeze, in.reduce, grad.x ? ds_view : View{}, grad.reduce, grad.reduce_bias);
    if (!grad.x || samples == 0) return;
    const PixelRows dx = pixel_rows(grad.x, 1, "squeeze_excite: dx");
    const f32v count = splat(float(x.rows));
    for_vectors(samples * channels, [&](int64_t i, auto n) { store_n(ds + i, load_n(ds + i, n) / count, n); });
    const bool stream = streams(grad.x);
    each_pixel(ctx, x, stream, [&](int64_t n, int64_t p) {
      const T* from = pixel<const T>(dout.y, dy, n, p);
      T* to = pixel<T>(grad.x, dx, n, p);
      for_vectors(channels, [&](int64_t c, auto lanes) {
        const int64_t i = n * channels + c;
        put(to + c, fma(load_n(from + c, lanes), load_n(gate + i, lanes), load_n(ds + i, lanes)), lanes, stream);
      });
    });
  });
}

}  // namespace dr
