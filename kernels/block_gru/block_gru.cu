#include "kernels/block_gru/block_gru.h"

#include "kernels/block_linear/gpu_block_linear.h"
#include "kernels/gru_cell/gpu_gru.h"

namespace dr {

using namespace DR_BACKEND;

template <>
void BlockGru::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  block_product(ctx, in.x, in.weight, in.bias, out.gates);
  with_float_type(in.h.dtype, [&]<class T>(T*) { gru_forward<float, T>(ctx, in.h, out.gates, out.h); });
}

template <>
void BlockGru::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                  const Grad& grad) const {
  View dgates;
  if (grad.x || grad.weight || grad.bias)
    dgates = View(ctx.scratch_as<float>(size_t(3 * in.h.count())), DType::f32, saved.gates.sizes);
  with_float_type(in.h.dtype,
                  [&]<class T>(T*) { gru_backward<float, T, float>(ctx, in.h, saved.gates, dy.h, grad.h, dgates); });
  if (dgates) block_gradients(ctx, dgates, in.x, in.weight, grad.x, grad.weight, grad.bias, scratch_bytes(in, 1));
}

}  // namespace dr
