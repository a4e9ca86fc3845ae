#include "kernels/bernoulli_nll/bernoulli_nll.h"

#include "kernels/core/row_loss.h"
#include "kernels/core/sigmoid.h"

namespace dr {
using namespace DR_ISA;

template <>
void BernoulliNll::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  row_loss_forward(ctx, in.logits, in.target, in.weight, out.loss, [](f32v x, f32v t) {
    return fma(-t, x, x > 0.f ? x : f32v{}) + log1p(exp(-abs(x)));
  });
}

template <>
void BernoulliNll::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout,
                                      const Grad& grad) const {
  if (!grad.logits) return;
  row_loss_backward(ctx, in.logits, in.target, in.weight, dout.loss, grad.logits,
                    [](f32v x, f32v t) { return sigmoid(x) - t; });
}

}  // namespace dr
