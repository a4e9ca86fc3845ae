#include "kernels/smooth_l1/smooth_l1.h"

#include "kernels/core/row_loss.h"

namespace dr {
using namespace DR_ISA;

template <>
void SmoothL1::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const f32v limit = splat(beta), curve = splat(0.5f / beta), offset = splat(0.5f * beta);
  row_loss_forward(ctx, in.pred, in.target, in.weight, out.loss, [=](f32v pred, f32v target) {
    const f32v d = pred - target, a = abs(d);
    return a < limit ? (d * d) * curve : a - offset;
  });
}

template <>
void SmoothL1::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout, const Grad& grad) const {
  if (!grad.pred) return;
  const f32v limit = splat(beta), inverse = splat(1.f / beta), one = splat(1.f);
  row_loss_backward(ctx, in.pred, in.target, in.weight, dout.loss, grad.pred, [=](f32v pred, f32v target) {
    const f32v d = pred - target;
    const f32v sign = d > 0.f ? one : d < 0.f ? -one : d;  // d where it is 0 or NaN
    return abs(d) < limit ? d * inverse : sign;
  });
}

}  // namespace dr
