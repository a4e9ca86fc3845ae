#include "kernels/adamw/adamw.h"
#include "kernels/adamw/adamw_math.h"

#include "kernels/core/gpu_runs.h"

namespace dr {
namespace DR_BACKEND {
namespace {

struct StepElements {
  AdamW op;
  const float *lr, *correction, *grad_scale, *param, *grad, *m, *v;
  float *param_out, *m_out, *v_out;

  DR_DEVICE void operator()(int64_t, int64_t i, int n) const {
    const Run g = load_run(grad + i, n);
    Run p = load_run(param + i, n), first = load_run(m + i, n), second = load_run(v + i, n);
    if (const float scale = *grad_scale; scale != 0.f) {
      const AdamWStep step(op, *lr, correction, scale);
      DR_UNROLL
      for (int j = 0; j < kRun; j++) step(p[j], g[j], first[j], second[j]);
    }
    store_run(param_out + i, p, n);
    store_run(m_out + i, first, n);
    store_run(v_out + i, second, n);
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void AdamW::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  for_runs(ctx, 1, in.param.count(),
           StepElements{*this, in.lr.as<float>(), in.correction.as<float>(), in.grad_scale.as<float>(),
                        in.param.as<float>(), in.grad.as<float>(), in.m.as<float>(), in.v.as<float>(),
                        out.param.as<float>(), out.m.as<float>(), out.v.as<float>()});
}

}  // namespace dr
