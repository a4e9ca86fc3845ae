#include "kernels/two_hot_cross_entropy/two_hot_cross_entropy.h"

#include <algorithm>

#include "kernels/cross_entropy/class_rows.h"

namespace dr {
namespace DR_ISA {
namespace {

// The weights of bins `below` and below + 1.
struct TwoHot {
  int64_t below;
  float lower, upper;
};
TwoHot two_hot(const float* bins, int64_t count, float target) {
  int64_t above = 0, end = count;  // the first bin above the target; past the last one for a NaN
  while (above < end) {
    const int64_t middle = (above + end) / 2;
    if (target < bins[middle]) end = middle;
    else above = middle + 1;
  }
  const int64_t below = std::clamp<int64_t>(above - 1, 0, count - 2);
  const float w = (target - bins[below]) / (bins[below + 1] - bins[below]);
  const float upper = w < 0 ? 0 : w > 1 ? 1 : w;
  return {below, 1 - upper, upper};
}

DR_INLINE float weighted(float weight, float nll) { return weight == 0 ? 0.f : weight * nll; }

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void TwoHotCrossEntropy::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t count = in.bins.size(0);
  const float* const bins = in.bins.as<float>();
  for (int64_t i = 1; i < count; i++)
    CHECK(bins[i - 1] < bins[i], "two_hot_cross_entropy: bins must ascend, but bins[{}] is {} and the next {}", i - 1,
          bins[i - 1], bins[i]);
  with_float_type(in.logits.dtype, [&]<class T>(T*) {
    for_class_losses<T>(ctx, in.logits, out.loss, out.max, out.den,
                        [&](int64_t r, const T* x, float max, float log_den) {
                          const TwoHot t = two_hot(bins, count, *row_of<const float>(in.target, r));
                          return weighted(t.lower, class_nll(load1(x + t.below), max, log_den)) +
                                 weighted(t.upper, class_nll(load1(x + t.below + 1), max, log_den));
                        });
  });
}

template <>
void TwoHotCrossEntropy::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dout,
                                            const Grad& grad) const {
  if (!grad.logits) return;
  const int64_t count = in.bins.size(0);
  with_float_type(in.logits.dtype, [&]<class T>(T*) {
    for_class_gradients<T>(
        ctx, in.logits, saved.max, saved.den, dout.loss, grad.logits,
        [&](int64_t r, const T* x, const SoftmaxRow& row, float g, T* dx) {
          const TwoHot t = two_hot(in.bins.as<float>(), count, *row_of<const float>(in.target, r));
          for_probabilities(x, count, row, [&](int64_t i, f32v p, auto n) {
            const f32v target = at_element(i, t.below, t.lower) + at_element(i, t.below + 1, t.upper);
            store_n(dx + i, splat(g) * (p - target), n);
          });
        });
  });
}

}  // namespace dr
