#include "kernels/core/gpu_gemm.h"

namespace dr::DR_BACKEND {

void multiply(const Context& ctx, int64_t batch, int64_t m, int64_t n, int64_t k, const Operand& a, const Operand& b,
              const StoreMatrix& c, const GemmScratch& scratch) {
  const GemmShape shape{.batch = batch, .m = m, .n = n, .k = k, .a_along_k = !a.transposed, .b_along_k = b.transposed};
  gemm(ctx, shape, a, b, c, scratch);
}

}  // namespace dr::DR_BACKEND
