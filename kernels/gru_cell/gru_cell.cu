#include "kernels/gru_cell/gpu_gru.h"

namespace dr {

using namespace DR_BACKEND;

template <>
void GruCell::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(in.h.dtype, [&]<class T>(T*) { gru_forward<T, T>(ctx, in.h, in.gates, out.h); });
}

template <>
void GruCell::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  with_float_type(in.h.dtype,
                  [&]<class T>(T*) { gru_backward<T, T, T>(ctx, in.h, in.gates, dy.h, grad.h, grad.gates); });
}

}  // namespace dr
