#pragma once
// A row's gain 1 + scale and its shift, by frame, on a device: what AdaLN and the ops with more fused behind it give to
// gpu_norm.h. Last include of a `.cu`, as gpu.h.

#include "kernels/core/gpu_map_rows.h"
#include "kernels/core/gpu_norm.h"

namespace dr::DR_BACKEND {

// Row r of x belongs to frame r / rows; y = fma(xhat, 1 + scale, shift).
inline ModulationRows gain_of(const View& scale, int64_t rows) {
  return {.data = scale.as<float>(), .stride = scale.stride(0), .rows = rows, .offset = 1};
}
inline ModulationRows shift_of(const View& shift, int64_t rows) {
  return {.data = shift.as<float>(), .stride = shift.stride(0), .rows = rows};
}

struct NormAgain {
  const float *mean, *rstd;  // mean null: not centred
  ModulationRows gain, shift;
  DR_DEVICE float operator()(int64_t r, int64_t c, float x) const {
    return fma((x - (mean ? mean[r] : 0.f)) * rstd[r], gain(r, c), shift(r, c));
  }
};
// y, of f32, again from the saved statistics.
inline void norm_again(const Context& ctx, const View& x, const View& mean, const View& rstd,
                       const ModulationRows& gain, const ModulationRows& shift, const View& y) {
  with_float_type(x.dtype, [&]<class T>(T*) {
    map_rows(ctx, x.size(0), x.size(1), rows_of<float>(y),
             NormAgain{mean ? mean.as<float>() : nullptr, rstd.as<float>(), gain, shift}, rows_of<const T>(x));
  });
}

}  // namespace dr::DR_BACKEND
