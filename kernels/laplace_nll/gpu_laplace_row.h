#pragma once
// The terms of Laplace's likelihood along one row, on a device, as laplace_row.h has them for the CPU.
// Last include of a `.cu`, as gpu.h.

#include "kernels/core/gpu_row_loss.h"
#include "kernels/laplace_nll/laplace_math.h"

namespace dr::DR_BACKEND {

// P: mean and log_scale, T: target; weight may be null.
template <class P, class T>
struct LaplaceRow {
  const P *mean, *log_scale;
  const T* target;
  const float* weight;
  float floor;

  DR_DEVICE float error(int64_t i) const { return load1(mean + i) - load1(target + i); }

  // What element i adds to the row's sum, and to that of distances.
  DR_DEVICE void add_nll(float& acc, int64_t i) const {
    const float nll = laplace_term(error(i), laplace_scale(load1(log_scale + i), floor));
    acc = weight ? add_weighted(acc, weight[i], nll) : acc + nll;
  }
  DR_DEVICE void add_distance(float& acc, int64_t i) const {
    const float e = abs(error(i));
    acc = weight ? add_weighted(acc, weight[i], e) : acc + e;
  }

  // Gradients of n elements from c on, for g, that of the row's sum. A null pointer: not wanted.
  DR_DEVICE void gradients(int64_t c, int n, float g, P* dmean, P* dscale) const {
    const Run m = load_run(mean + c, n), s = load_run(log_scale + c, n), t = load_run(target + c, n);
    const Run w = weight ? load_run(weight + c, n) : make_run([](int) { return 1.f; });
    Run dm, ds;
    DR_UNROLL
    for (int j = 0; j < kRun; j++) {
      const LaplaceSlopes slopes = laplace_slopes(m.v[j] - t.v[j], s.v[j], floor);
      dm.v[j] = weighted_slope(g, w.v[j], slopes.mean);
      ds.v[j] = weighted_slope(g, w.v[j], slopes.log_scale);
    }
    if (dmean) store_run(dmean + c, dm, n);
    if (dscale) store_run(dscale + c, ds, n);
  }
};

}  // namespace dr::DR_BACKEND
