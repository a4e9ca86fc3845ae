#include "kernels/two_hot_mean/two_hot_mean.h"

#include "kernels/cross_entropy/gpu_class_rows.h"

namespace dr {
namespace DR_BACKEND {
namespace {

// A group of lanes takes a row; a lane pairs bin i with the one as far from the other end.
template <class T>
struct Mean {
  RowsOf<const T> logits;
  const float* bins;
  int64_t count;
  float *mean, *max, *den;
  DR_DEVICE void operator()(int64_t r) const {
    const T* const x = logits.row(r);
    const SoftmaxRow row = softmax_of(x, count);
    auto product = [&](int64_t i) { return row.e(load1(x + i)) * bins[i]; };
    float sum = row_reduce(count / 2, [&](float& acc, int64_t i) {
      acc = acc + (product(i) + product(count - 1 - i));
    });
    if (count % 2) sum = sum + product(count / 2);
    if (lane_index() == 0) mean[r] = sum / row.den, max[r] = row.max, den[r] = row.den;
  }
};
struct Slope {
  const float *bins, *mean;
  DR_DEVICE auto operator()(int64_t r) const {
    return [bins = bins, m = mean[r]](int64_t i, float p, float g) { return (g * p) * (bins[i] - m); };
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void TwoHotMean::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(in.logits.dtype, [&]<class T>(T*) {
    for_rows(ctx, in.logits.size(0),
             Mean<T>{rows_of<const T>(in.logits), in.bins.as<float>(), in.bins.size(0), out.mean.as<float>(),
                     out.max.as<float>(), out.den.as<float>()});
  });
}

template <>
void TwoHotMean::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dout,
                                    const Grad& grad) const {
  if (!grad.logits) return;
  const Slope slope{in.bins.as<float>(), saved.mean.as<float>()};
  with_float_type(in.logits.dtype, [&]<class T>(T*) {
    for_class_gradients<T>(ctx, in.logits, saved.max, saved.den, dout.mean, grad.logits, slope);
  });
}

}  // namespace dr
