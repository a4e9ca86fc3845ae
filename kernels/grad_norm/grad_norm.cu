#include "kernels/grad_norm/grad_norm.h"

#include "kernels/core/gpu_rows.h"

namespace dr {
namespace DR_BACKEND {
namespace {

static_assert(GradNorm::kBlock == kRowBlock);

struct SquaresOfBlock {
  const float* grad;
  int64_t count;
  float* sums;
  DR_DEVICE void operator()(int64_t b) const {
    const int64_t begin = b * kRowBlock, end = begin + kRowBlock < count ? begin + kRowBlock : count;
    const float sum = block_reduce(begin, end, [&](float& acc, int64_t i) { acc = fma(grad[i], grad[i], acc); });
    if (lane_index() == 0) sums[b] = sum;
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void GradNorm::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t count = in.grad.count();
  for_rows(ctx, blocks(count), SquaresOfBlock{in.grad.as<float>(), count, out.sums.as<float>()});
}

}  // namespace dr
