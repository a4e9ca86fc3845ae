#include "kernels/grad_norm/grad_norm.h"
#include "kernels/core/reduce.h"

namespace dr {

using namespace DR_ISA;

static_assert(GradNorm::kBlock == kRowBlock);

template <>
void GradNorm::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const float* grad = in.grad.as<float>();
  float* sums = out.sums.as<float>();
  const int64_t count = in.grad.count();
  ctx.parallel(blocks(count), 4, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b++) {
      const float* g = grad + b * kBlock;
      sums[b] =
          row_reduce(count - b * kBlock < kBlock ? count - b * kBlock : kBlock, [&](f32v& acc, int64_t i, auto n) {
            const f32v v = load_n(g + i, n);
            acc = fma(v, v, acc);
          });
    }
  });
}

}  // namespace dr
