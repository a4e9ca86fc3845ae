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

  DR_DEVICE void operator()(int64_t, int64_t i, int n) const {
    Run a = load_run(average + i, n);
    const Run v = load_run(x + i, n);
    const float keep = *decay, rest = 1.f - keep;
    DR_UNROLL
    for (int j = 0; j < kRun; j++) a[j] = fma(keep, a[j], rest * v[j]);
    store_run(out + i, a, n);
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void Ema::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    for_runs(ctx, 1, in.x.count(),
             Average<T>{in.average.as<float>(), in.decay.as<float>(), static_cast<const T*>(in.x.data),
                        out.average.as<float>()});
  });
}

}  // namespace dr
