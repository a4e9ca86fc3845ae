#include "kernels/bernoulli_nll/bernoulli_nll.h"
#include "kernels/bernoulli_nll/bernoulli_math.h"

#include "kernels/core/gpu_row_loss.h"

namespace dr {
using namespace DR_BACKEND;

template <>
void BernoulliNll::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  row_loss_forward(ctx, in.logits, in.target, in.weight, out.loss, BernoulliValue{});
}

template <>
void BernoulliNll::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout,
                                      const Grad& grad) const {
  if (grad.logits)
    row_loss_backward(ctx, in.logits, in.target, in.weight, dout.loss, grad.logits, BernoulliSlope{});
}

}  // namespace dr
