#include "kernels/block_linear/block_linear_kernels.h"

namespace dr {

using namespace DR_ISA;

template <>
void BlockLinear::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  block_product(ctx, in.x, in.weight, in.bias, out.y);
}

template <>
void BlockLinear::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy,
                                     const Grad& grad) const {
  block_gradients(ctx, dy.y, in.x, in.weight, grad.x, grad.weight, grad.bias);
}

}  // namespace dr
