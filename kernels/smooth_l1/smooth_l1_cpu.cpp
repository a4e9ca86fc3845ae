#include "kernels/smooth_l1/smooth_l1.h"
#include "kernels/smooth_l1/smooth_l1_math.h"

#include "kernels/core/row_loss.h"

namespace dr {
using namespace DR_ISA;

template <>
void SmoothL1::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  row_loss_forward(ctx, in.pred, in.target, in.weight, out.loss, SmoothL1Value(beta));
}

template <>
void SmoothL1::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout, const Grad& grad) const {
  if (grad.pred)
    row_loss_backward(ctx, in.pred, in.target, in.weight, dout.loss, grad.pred, SmoothL1Slope(beta));
}

}  // namespace dr
