#include "kernels/flow_loss/flow_loss.h"

#include <algorithm>

#include "kernels/core/reduce.h"
#include "kernels/core/stream.h"

namespace dr {
namespace DR_ISA {
namespace {

static_assert(FlowLoss::kBlock == kRowBlock);
int64_t blocks_of(int64_t cols) { return (cols + kRowBlock - 1) / kRowBlock; }

// The canonical sum of squares over elements [begin, end) of one row: at most one block.
template <class P, class T>
float block_sum(const P* pred, const T* target, int64_t begin, int64_t end) {
  Lanes lanes;
  reduce_block(lanes, begin, end, [&](f32v& acc, int64_t i, auto n) {
    read_ahead(pred + i), read_ahead(target + i);
    const f32v d = load_n(pred + i, n) - load_n(target + i, n);
    acc = fma(d, d, acc);
  });
  return lanes.total();
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void FlowLoss::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t rows = in.pred.size(0);
  if (rows == 0) return;
  const int64_t cols = in.pred.count() / rows, blocks = blocks_of(cols);
  float* const sums = ctx.scratch_as<float>(size_t(rows * blocks));
  if (blocks > 0) {
    with_float_type(in.pred.dtype, [&]<class P>(P*) {
      with_float_type(in.target.dtype, [&]<class T>(T*) {
        ctx.parallel(rows * blocks, std::max<int64_t>(1, 2 * kRowBlock / cols), [&](int64_t b, int64_t e) {
          for (int64_t p = b; p < e; p++) {
            const int64_t r = p / blocks, begin = p % blocks * kRowBlock;
            sums[p] = block_sum(static_cast<const P*>(in.pred.data) + r * in.pred.stride(0),
                                static_cast<const T*>(in.target.data) + r * in.target.stride(0), begin,
                                std::min(begin + kRowBlock, cols));
          }
        });
      });
    });
  }
  for (int64_t r = 0; r < rows; r++) {
    const float sum = tree_sum(sums + r * blocks, blocks);
    out.loss.as<float>()[r * out.loss.stride(0)] =
        in.weight ? in.weight.as<float>()[r * in.weight.stride(0)] * sum : sum;
  }
}

template <>
void FlowLoss::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout, const Grad& grad) const {
  if (!grad.pred || in.pred.count() == 0) return;
  CHECK(grad.pred.packed(), "flow_loss: the gradient of pred must be packed");
  const int64_t rows = in.pred.size(0), cols = in.pred.count() / rows, blocks = blocks_of(cols);
  const bool stream = streams(View(grad.pred.data, grad.pred.dtype, {rows, cols}));
  with_float_type(in.pred.dtype, [&]<class P>(P*) {
    with_float_type(in.target.dtype, [&]<class T>(T*) {
      ctx.parallel(rows * blocks, std::max<int64_t>(1, 2 * kRowBlock / cols), [&](int64_t b, int64_t e) {
        for (int64_t p = b; p < e; p++) {
          const int64_t r = p / blocks, begin = p % blocks * kRowBlock;
          const P* pred = static_cast<const P*>(in.pred.data) + r * in.pred.stride(0) + begin;
          const T* target = static_cast<const T*>(in.target.data) + r * in.target.stride(0) + begin;
          P* dpred = static_cast<P*>(grad.pred.data) + r * cols + begin;
          const float twice = 2.f * dout.loss.as<float>()[r * dout.loss.stride(0)];
          const f32v s = splat(in.weight ? twice * in.weight.as<float>()[r * in.weight.stride(0)] : twice);
          for_vectors(std::min(kRowBlock, cols - begin), [&](int64_t i, auto n) {
            read_ahead(pred + i), read_ahead(target + i);
            put(dpred + i, s * (load_n(pred + i, n) - load_n(target + i, n)), n, stream);
          });
        }
        stream_fence(stream);
      });
    });
  });
}

}  // namespace dr
