#include "kernels/core/gpu_blas.h"
#include "kernels/core/gpu_gemm_fast.h"

namespace dr::DR_BACKEND {

void multiply(const Context& ctx, int64_t batch, int64_t m, int64_t n, int64_t k, const Operand& a, const Operand& b,
              const StoreMatrix& c, const GemmScratch& scratch) {
  const GemmShape shape{.batch = batch, .m = m, .n = n, .k = k, .a_along_k = !a.transposed, .b_along_k = b.transposed};
  if (ctx.math == MathTier::fast && !c.goes_on) {
    Workspace room(ctx);
    const Operand x = room.in_bf16(a, as_stored(a, m, k), batch), y = room.in_bf16(b, as_stored(b, k, n), batch);
#if defined(DR_BACKEND_cuda)
    if (fits_hopper(x) && fits_hopper(y) && blas_gemm(ctx, shape, x, y, c)) return;
#endif
    if (fast_gemm(ctx, shape, x, y, c)) return;
  }
  gemm(ctx, shape, a, b, c, scratch);
}

}  // namespace dr::DR_BACKEND
