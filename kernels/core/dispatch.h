#pragma once
// The bodies of run_forward and run_backward (any_op.h). DR_WITH_<name> says which instruction sets the program has.

#include "kernels/core/any_op.h"

namespace dr {

// Calls f of the backend.
template <class F>
decltype(auto) on_backend(Backend b, F&& f) {
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
  on_backend(ctx.backend, [&]<Backend B>() { op.template forward<B>(ctx, in, out); });
}
template <DifferentiableOp O>
void run_backward(Context& ctx, const O& op, const typename O::In& in, const typename O::Out& out,
                  const typename O::OutGrad& dy, const typename O::Grad& grad) {
  on_backend(ctx.backend, [&]<Backend B>() { op.template backward<B>(ctx, in, out, dy, grad); });
}

}  // namespace dr
