#include "kernels/two_hot_cross_entropy/two_hot_cross_entropy.h"
#include "kernels/two_hot_cross_entropy/two_hot.h"

#include "kernels/cross_entropy/gpu_class_rows.h"

namespace dr {
namespace DR_BACKEND {
namespace {

struct CheckBins {
  const float* bins;
  int64_t count;
  FaultSink faults;
  DR_DEVICE void operator()(int64_t i) const {
    if (!(bins[i] < bins[i + 1])) faults.raise(i + 1, count, count);  // so many ascend, of so many
  }
};

struct Target {
  RowsOf<const float> target;
  const float* bins;
  int64_t count;
  DR_DEVICE TwoHot of(int64_t r) const { return two_hot(bins, count, *target.row(r)); }
};
Target target_of(const TwoHotCrossEntropy::In& in) {
  return {rows_of<const float>(in.target), in.bins.as<float>(), in.bins.size(0)};
}

template <class T>
struct Loss {
  Target target;
  DR_DEVICE float operator()(int64_t r, const T* x, float max, float log_den) const {
    const TwoHot t = target.of(r);
    return two_hot_term(t.lower, class_nll(load1(x + t.below), max, log_den)) +
           two_hot_term(t.upper, class_nll(load1(x + t.below + 1), max, log_den));
  }
};
struct Slope {
  Target target;
  DR_DEVICE auto operator()(int64_t r) const {
    return [t = target.of(r)](int64_t i, float p, float g) {
      return class_slope(g, p, i == t.below ? t.lower : i == t.below + 1 ? t.upper : 0.f);
    };
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void TwoHotCrossEntropy::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const Target target = target_of(in);
  for_each(ctx, target.count - 1, CheckBins{target.bins, target.count, fault_sink(ctx, "two_hot_cross_entropy: bins")});
  with_float_type(in.logits.dtype, [&]<class T>(T*) {
    for_class_losses<T>(ctx, in.logits, out.loss, out.max, out.den, Loss<T>{target});
  });
}

template <>
void TwoHotCrossEntropy::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dout,
                                            const Grad& grad) const {
  if (!grad.logits) return;
  with_float_type(in.logits.dtype, [&]<class T>(T*) {
    for_class_gradients<T>(ctx, in.logits, saved.max, saved.den, dout.loss, grad.logits, Slope{target_of(in)});
  });
}

}  // namespace dr
