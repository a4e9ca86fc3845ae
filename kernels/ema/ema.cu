#include "kernels/ema/ema.h"

#include "kernels/core/gpu_runs.h"

namespace dr {
namespace DR_BACKEND {
namespace {

template <class T>
struct Average {
  const float *average, *decay;
  const T* x;
  float* out;

  template <int N>
  DR_DEVICE void operator()(int64_t, int64_t i, Count<N>) const {
    Run<N> a = load_run<N>(average + i);
    const Run<N> v = load_run<N>(x + i);
    const float keep = *decay, rest = 1.f - keep;
    DR_UNROLL
    for (int j = 0; j < N; j++) a[j] = fma(keep, a[j], rest * v[j]);
    store_run(out + i, a);
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void Ema::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const bool whole = flat_runs_aligned(in.average) && flat_runs_aligned(in.x) && flat_runs_aligned(out.average);
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    for_runs(ctx, 1, in.x.count(), whole,
             Average<T>{in.average.as<float>(), in.decay.as<float>(), static_cast<const T*>(in.x.data),
                        out.average.as<float>()});
  });
}

}  // namespace dr
