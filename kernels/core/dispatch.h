#pragma once
// The bodies of run_forward and run_backward (any_op.h). DR_WITH_<name> says which instruction sets and devices the program
// has.

#include "kernels/core/any_op.h"
#include "kernels/device_ops.h"

namespace dr {

// Calls f of the backend. Host functions have bodies for instruction sets alone; ops have them for devices too.
template <bool kDevices = false, class F>
decltype(auto) on_backend(Backend b, F&& f) {
  if constexpr (kDevices) {
#ifdef DR_WITH_simt
    if (b == Backend::simt) return f.template operator()<Backend::simt>();
#endif
#ifdef DR_WITH_cuda
    if (b == Backend::cuda) return f.template operator()<Backend::cuda>();
#endif
#ifdef DR_WITH_hip
    if (b == Backend::hip) return f.template operator()<Backend::hip>();
#endif
  }
  switch (b) {
#ifdef DR_WITH_portable
    case Backend::portable: return f.template operator()<Backend::portable>();
#endif
#ifdef DR_WITH_avx2
    case Backend::avx2: return f.template operator()<Backend::avx2>();
#endif
#ifdef DR_WITH_avx512
    case Backend::avx512: return f.template operator()<Backend::avx512>();
#endif
    default: fail("backend {} is not built into this program", name_of(b));
  }
}

template <Op O>
void run_forward(Context& ctx, const O& op, const typename O::In& in, const typename O::Out& out) {
  on_backend<has_device_kernels<O>>(ctx.backend, [&]<Backend B>() { op.template forward<B>(ctx, in, out); });
}
template <DifferentiableOp O>
void run_backward(Context& ctx, const O& op, const typename O::In& in, const typename O::Out& out,
                  const typename O::OutGrad& dy, const typename O::Grad& grad) {
  on_backend<has_device_kernels<O>>(ctx.backend, [&]<Backend B>() { op.template backward<B>(ctx, in, out, dy, grad); });
}

}  // namespace dr
