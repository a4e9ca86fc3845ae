#pragma once
// The products of a block-diagonal linear layer on a device, for BlockLinear and BlockGru; compiled once, in
// block_linear.cu. Last include of a `.cu`, as gpu.h.

#include "kernels/block_linear/block_linear.h"

#include "kernels/core/gpu_gemm.h"

namespace dr::DR_BACKEND {

// y = x weight^T + bias; y (R,G,O) packed.
void block_product(const Context&, const View& x, const View& weight, const View& bias, const View& y,
                   size_t scratch = 0);

// Gradients from dy (R,G,O), its rows packed. Absent ones are left out; those given are packed.
void block_gradients(const Context&, const View& dy, const View& x, const View& weight, const View& dx,
                     const View& dweight, const View& dbias, size_t scratch = 0);

}  // namespace dr::DR_BACKEND
