#pragma once
// A linear layer whose result enters the residual stream through a gate, on a device; for LinearGatedResidual and
// AdaLNMlp. Last include of a `.cu`, as gpu.h.

#include "kernels/linear_gated_residual/linear_gated_residual.h"

#include "kernels/linear/gpu_linear.h"

namespace dr::DR_BACKEND {

// Row r belongs to frame (first_row + r) / rows_per_frame.
struct FrameGates {
  const float* gate;
  int64_t stride, rows_per_frame, first_row = 0;
  DR_DEVICE float operator()(int64_t r, int64_t c) const { return gate[(first_row + r) / rows_per_frame * stride + c]; }
};

// y = gate h + residual, h = x weight^T + bias.
void gated_product(const Context&, const View& x, const View& weight, const View& bias, const FrameGates& gates,
                   const View& residual, const View& y, const View& h, size_t scratch = 0);

// dh = gate dy, kept in f32; dgate, where it is wanted, is the column sum of dy h over a frame's rows.
void gate_gradients(const Context&, const View& dy, const View& h, const FrameGates& gates, const View& dh,
                    const View& dgate, size_t scratch = 0);

}  // namespace dr::DR_BACKEND
