#include "kernels/add/add.h"

#include "kernels/core/strided_runs.h"

namespace dr {

using namespace DR_ISA;

template <>
void Add::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const bool stream = streams(out.z) && out.z.data != in.a.data && out.z.data != in.b.data;
  with_float_type(in.a.dtype, [&]<class T>(T*) {
    for_runs<3>(ctx, {in.a, in.b, out.z}, stream, [&](const auto& at, int64_t count) {
      const T* a = static_cast<const T*>(in.a.data) + at[0];
      const T* b = static_cast<const T*>(in.b.data) + at[1];
      T* z = static_cast<T*>(out.z.data) + at[2];
      for_vectors(count, [&](int64_t i, auto n) { put(z + i, load_n(a + i, n) + load_n(b + i, n), n, stream); });
    });
  });
}

template <>
void Add::backward<kBackend>(Context& ctx, const In&, const Out&, const OutGrad& dy, const Grad& grad) const {
  if (grad.a) copy_view(ctx, dy.z, grad.a);
  if (grad.b) copy_view(ctx, dy.z, grad.b);
}

}  // namespace dr
