#include "kernels/cross_entropy/cross_entropy.h"

#include "kernels/core/weighted.h"
#include "kernels/cross_entropy/gpu_class_rows.h"

namespace dr {
namespace DR_BACKEND {
namespace {

// ---- a class ----

template <class T>
struct ClassNll {
  RowsOf<const int32_t> target;
  int64_t classes;
  int32_t ignored;
  FaultSink faults;
  DR_DEVICE float operator()(int64_t r, const T* x, float max, float log_den) const {
    const int32_t t = *target.row(r);
    if (t == ignored) return 0;
    if (t < 0 || t >= classes) {
      faults.raise(t, 0, classes - 1);
      return 0;
    }
    return class_nll(load1(x + t), max, log_den);
  }
};
struct ClassSlope {
  RowsOf<const int32_t> target;
  int32_t ignored;
  DR_DEVICE auto operator()(int64_t r) const {
    return [t = *target.row(r), ignored = ignored](int64_t i, float p, float g) {
      return t == ignored ? 0.f : class_slope(g, p, i == t ? 1.f : 0.f);
    };
  }
};

// ---- weights ----

template <class T, class U>
struct WeightedNll {
  RowsOf<const U> target;
  int64_t classes;
  DR_DEVICE float operator()(int64_t r, const T* x, float max, float log_den) const {
    return row_reduce(classes, [=, t = target.row(r)](float& acc, int64_t i) {
      acc = add_weighted(acc, load1(t + i), class_nll(load1(x + i), max, log_den));
    });
  }
};
template <class U>
struct WeightedSlope {
  RowsOf<const U> target;
  int64_t classes;
  DR_DEVICE auto operator()(int64_t r) const {
    const U* const t = target.row(r);
    const float sum = row_reduce(classes, [t](float& acc, int64_t i) { acc = acc + load1(t + i); });
    return [t, sum](int64_t i, float p, float g) { return weights_slope(g, p, sum, load1(t + i)); };
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void CrossEntropy::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t classes = in.logits.size(1);
  with_float_type(in.logits.dtype, [&]<class T>(T*) {
    auto losses = [&](const auto& loss) { for_class_losses<T>(ctx, in.logits, out.loss, out.max, out.den, loss); };
    if (in.target.dtype == DType::i32)
      return losses(ClassNll<T>{rows_of<const int32_t>(in.target), classes, ignore_index, fault_sink(ctx, name)});
    with_float_type(in.target.dtype,
                    [&]<class U>(U*) { losses(WeightedNll<T, U>{rows_of<const U>(in.target), classes}); });
  });
}

template <>
void CrossEntropy::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dout,
                                      const Grad& grad) const {
  if (!grad.logits) return;
  const int64_t classes = in.logits.size(1);
  with_float_type(in.logits.dtype, [&]<class T>(T*) {
    auto gradients = [&](const auto& slope) {
      for_class_gradients<T>(ctx, in.logits, saved.max, saved.den, dout.loss, grad.logits, slope);
    };
    if (in.target.dtype == DType::i32) return gradients(ClassSlope{rows_of<const int32_t>(in.target), ignore_index});
    with_float_type(in.target.dtype,
                    [&]<class U>(U*) { gradients(WeightedSlope<U>{rows_of<const U>(in.target), classes}); });
  });
}

}  // namespace dr
