#include "kernels/batch_norm/batch_norm.h"

#include "kernels/core/gpu_channel_stats.h"

namespace dr {
namespace DR_BACKEND {
namespace {

struct Rstd {
  const float* variance;
  float eps, *rstd;
  DR_DEVICE void operator()(int64_t i) const { rstd[i] = rsqrt(variance[i] + eps); }
};

// Of y = fma(x, scale, shift).
struct Fold {
  NormWeights norm;
  const float *mean, *variance;
  float *scale, *shift;
  DR_DEVICE void operator()(int64_t c) const {
    const float s = norm.weight[c] * rsqrt(variance[c] + norm.eps);
    scale[c] = s;
    shift[c] = fma(-mean[c], s, norm.bias[c]);
  }
};
template <class T>
struct Affine {
  UnitRows<const T> x;
  UnitRows<T> y;
  int64_t rows;
  const float *scale, *shift;

  DR_DEVICE void operator()(int64_t r, int64_t c, int n) const {
    const int64_t unit = r / rows, row = r % rows;
    const Run s = load_run(scale + c, n), t = load_run(shift + c, n);
    Run v = load_run(x.row(unit, row) + c, n);
    DR_UNROLL
    for (int j = 0; j < kRun; j++) v[j] = fma(v[j], s[j], t[j]);
    store_run(y.row(unit, row) + c, v, n);
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void BatchNorm::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const NormWeights norm{in.weight.as<float>(), in.bias.as<float>(), eps};
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    if (statistics == Statistics::leaf)
      return channel_norm_forward<T, false>(ctx, geometry(in.x, leaf_samples), leaf_samples, in.x, norm, out.y,
                                            {out.mean, out.variance, {}});
    const int64_t cols = in.x.size(3), rows = in.x.size(1) * in.x.size(2);
    float *const scale = ctx.scratch_as<float>(size_t(2 * cols)), *const shift = scale + cols;
    for_each(ctx, cols, Fold{norm, in.running_mean.as<float>(), in.running_variance.as<float>(), scale, shift});
    for_runs(ctx, in.x.size(0) * rows, cols,
             Affine<T>{unit_rows<const T>(in.x, 1), unit_rows<T>(out.y, 1), rows, scale, shift});
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
  float* const rstd = ctx.scratch_as<float>(size_t(variance.count()), g.device_scratch_bytes());
  for_each(ctx, variance.count(), Rstd{variance.as<float>(), eps, rstd});
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    const auto f = running ? channel_norm_backward<T, NormForm::constant> : channel_norm_backward<T, NormForm::plain>;
    f(ctx, g, leaf, in.x, {in.weight.as<float>(), in.bias.as<float>(), eps}, mean.as<float>(), rstd, dy.y,
      {grad.x, grad.weight, grad.bias});
  });
}

}  // namespace dr
