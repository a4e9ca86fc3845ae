#include "kernels/batch_norm/batch_norm.h"

#include "kernels/core/channel_stats.h"

namespace dr {
namespace DR_ISA {
namespace {

void rstd_of(const View& variance, float eps, float* rstd) {
  const float* from = variance.as<float>();
  for_vectors(variance.count(),
              [&](int64_t i, auto n) { store_n(rstd + i, rsqrt(load_n(from + i, n) + splat(eps)), n); });
}

// y = fma(x, scale, shift).
template <class T>
void affine(Context& ctx, const View& x_view, const float* scale, const float* shift, const View& y_view) {
  const UnitRows<const T> x(x_view, pixel_rows(x_view, 1, "x"));
  const UnitRows<T> y(y_view, pixel_rows(y_view, 1, "y"));
  const int64_t rows = x.at.rows, cols = x.at.cols;
  const bool stream = streams(y_view);
  ctx.parallel(x.at.units * rows, std::max<int64_t>(1, 8192 / cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const T* from = x.row(r / rows, r % rows);
      T* to = y.row(r / rows, r % rows);
      for_vectors(cols, [&](int64_t i, auto n) {
        put(to + i, fma(load_n(from + i, n), load_n(scale + i, n), load_n(shift + i, n)), n, stream);
      });
    }
    stream_fence(stream);
  });
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void BatchNorm::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const float *weight = in.weight.as<float>(), *bias = in.bias.as<float>();
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    if (statistics == Statistics::leaf) {
      channel_norm_forward<T, false>(ctx, geometry(in.x, leaf_samples), leaf_samples, in.x, {weight, bias, eps}, out.y,
                                     {out.mean, out.variance, {}});
      return;
    }
    const int64_t cols = in.x.size(3);
    const float* mean = in.running_mean.as<float>();
    float *scale = ctx.scratch_as<float>(size_t(2 * cols)), *shift = scale + cols;
    rstd_of(in.running_variance, eps, scale);
    for_vectors(cols, [&](int64_t i, auto n) {
      const f32v s = load_n(weight + i, n) * load_n(scale + i, n);
      store_n(scale + i, s, n);
      store_n(shift + i, fma(-load_n(mean + i, n), s, load_n(bias + i, n)), n);
    });
    affine<T>(ctx, in.x, scale, shift, out.y);
  });
}

template <>
void BatchNorm::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                   const Grad& grad) const {
  const bool running = statistics == Statistics::running;
  const int64_t samples = in.x.size(0), leaf = running ? std::max<int64_t>(1, samples / ctx.leaves) : leaf_samples;
  CHECK(samples == 0 || leaf * ctx.leaves == samples, "batch_norm: {} samples are not {} leaves of {}", samples,
        ctx.leaves, leaf);
  const ChannelGroups g = geometry(in.x, leaf);
  const View& mean = running ? in.running_mean : saved.mean;
  const View& variance = running ? in.running_variance : saved.variance;
  float* rstd = ctx.scratch_as<float>(size_t(variance.count()), g.scratch_bytes());
  rstd_of(variance, eps, rstd);
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    const auto f = running ? channel_norm_backward<T, NormForm::constant> : channel_norm_backward<T, NormForm::plain>;
    f(ctx, g, leaf, in.x, {in.weight.as<float>(), in.bias.as<float>(), eps}, mean.as<float>(), rstd, dy.y,
      {grad.x, grad.weight, grad.bias});
  });
}

}  // namespace dr
