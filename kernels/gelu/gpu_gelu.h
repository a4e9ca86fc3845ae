#pragma once
// GELU and its slope behind a product on a device, for LinearGelu and AdaLNMlp: not inside the product, where the
// exponentials would take the registers that sums need. Last include of a `.cu`, as gpu.h.

#include "kernels/gelu/gelu_math.h"

#include "kernels/core/gpu_map_rows.h"

namespace dr::DR_BACKEND {

struct GeluOf {
  DR_DEVICE float operator()(int64_t, int64_t, float pre) const { return gelu_tanh(pre); }
};
struct GeluBack {
  DR_DEVICE float operator()(int64_t, int64_t, float pre, float dy) const { return dy * gelu_tanh_derivative(pre); }
};

}  // namespace dr::DR_BACKEND
