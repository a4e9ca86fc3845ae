#include "kernels/cross_entropy/cross_entropy.h"

#include "kernels/core/weighted.h"
#include "kernels/cross_entropy/class_rows.h"

namespace dr {
namespace DR_ISA {
namespace {

// sum_c t nll, where a weight of 0 passes over its class.
template <class T, class U>
DR_INLINE float weighted_nll(const T* x, const U* target, int64_t classes, float max, float log_den_) {
  const f32v m = splat(max), log_den = splat(log_den_);
  return row_reduce(classes, [&](f32v& acc, int64_t i, auto n) {
    acc = add_weighted(acc, load_n(target + i, n), class_nll(load_n(x + i, n), m, log_den));
  });
}

template <class T, class U>
DR_INLINE void weighted_gradient(const T* x, const U* target, int64_t classes, const SoftmaxRow& row, float g, T* dx) {
  const f32v sum = splat(row_sum(target, classes));
  for_probabilities(x, classes, row, [&](int64_t i, f32v p, auto n) {
    store_n(dx + i, weights_slope(splat(g), p, sum, load_n(target + i, n)), n);
  });
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void CrossEntropy::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t classes = in.logits.size(1);
  with_float_type(in.logits.dtype, [&]<class T>(T*) {
    auto losses = [&](auto&& loss) { for_class_losses<T>(ctx, in.logits, out.loss, out.max, out.den, loss); };
    if (in.target.dtype == DType::i32) {
      auto target = [&](int64_t r) { return *row_of<const int32_t>(in.target, r); };
      for (int64_t r = 0; r < in.logits.size(0); r++) {
        const int32_t t = target(r);
        CHECK((t >= 0 && t < classes) || t == ignore_index,
              "cross_entropy: target[{}] is {}; classes are 0 to {}, and {} is ignored", r, t, classes - 1,
              ignore_index);
      }
      losses([&](int64_t r, const T* x, float max, float log_den) {
        return target(r) == ignore_index ? 0.f : class_nll(load1(x + target(r)), max, log_den);
      });
    } else {
      with_float_type(in.target.dtype, [&]<class U>(U*) {
        losses([&](int64_t r, const T* x, float max, float log_den) {
          return weighted_nll(x, row_of<const U>(in.target, r), classes, max, log_den);
        });
      });
    }
  });
}

template <>
void CrossEntropy::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dout,
                                      const Grad& grad) const {
  if (!grad.logits) return;
  const int64_t classes = in.logits.size(1);
  with_float_type(in.logits.dtype, [&]<class T>(T*) {
    auto rows = [&](auto&& gradient) {
      for_class_gradients<T>(ctx, in.logits, saved.max, saved.den, dout.loss, grad.logits, gradient);
    };
    if (in.target.dtype == DType::i32) {
      rows([&](int64_t r, const T* x, const SoftmaxRow& row, float g, T* dx) {
        const int32_t t = *row_of<const int32_t>(in.target, r);
        if (t == ignore_index) std::memset(dx, 0, size_t(classes) * sizeof(T));
        else class_gradient(x, classes, row, t, g, dx);
      });
    } else {
      with_float_type(in.target.dtype, [&]<class U>(U*) {
        rows([&](int64_t r, const T* x, const SoftmaxRow& row, float g, T* dx) {
          weighted_gradient(x, row_of<const U>(in.target, r), classes, row, g, dx);
        });
      });
    }
  });
}

}  // namespace dr
