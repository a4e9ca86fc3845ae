#pragma once
// The fast tier's GEMM: the best of what the device has.
//   fast_gemm(ctx, s, a, b, store)      with an epilogue (gpu_gemm.h): wgmma on Hopper, matrix tiles elsewhere
//   fast_gemm(ctx, s, a, b, c)          plain: cuBLASLt on CUDA, else as above
// Each returns false, and has done nothing, where the context asks for the canonical tier or the operands do not suit it; the
// caller then runs the canonical kernel. a, b, c: the last two axes are those of the matrices, as stored.
// Last include of a `.cu`, as gpu.h.

#include "kernels/core/gpu_blas.h"
#include "kernels/core/gpu_gemm_hopper.h"

namespace dr::DR_BACKEND {

template <class Store>
bool fast_gemm(const Context& ctx, const GemmShape& s, const View& a, const View& b, const Store& store) {
  if (ctx.math != MathTier::fast || !fits_tiles(a) || !fits_tiles(b)) return false;
#if DR_HOPPER_LAUNCHES
  if (has_hopper() && fits_hopper(a) && fits_hopper(b)) {
    gemm_on_wgmma(ctx, s, a, b, store);
    return true;
  }
#endif
  gemm_on_tiles(ctx, s, operand(a, !s.a_along_k), operand(b, s.b_along_k), store);
  return true;
}

inline bool fast_gemm(const Context& ctx, const GemmShape& s, const View& a, const View& b, const View& c) {
#if defined(DR_BACKEND_cuda)
  if (ctx.math == MathTier::fast && fits_hopper(a) && fits_hopper(b) && evenly_spaced(c) && c.count() > 0 && s.k > 0 &&
      blas_gemm(ctx, s, a, b, c))
    return true;
#endif
  return fast_gemm(ctx, s, a, b, store_matrix(c));
}

}  // namespace dr::DR_BACKEND
