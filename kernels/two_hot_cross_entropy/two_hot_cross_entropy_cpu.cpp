#include "kernels/two_hot_cross_entropy/two_hot_cross_entropy.h"

#include "kernels/cross_entropy/class_rows.h"
#include "kernels/two_hot_cross_entropy/two_hot.h"

namespace dr {
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
                          return two_hot_term(t.lower, class_nll(load1(x + t.below), max, log_den)) +
                                 two_hot_term(t.upper, class_nll(load1(x + t.below + 1), max, log_den));
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
            store_n(dx + i, class_slope(splat(g), p, target), n);
          });
        });
  });
}

}  // namespace dr
