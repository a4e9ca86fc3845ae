#include "kernels/flow_loss/flow_loss.h"

#include <algorithm>

#include "kernels/core/row_sums.h"
#include "kernels/core/stream.h"

namespace dr {
using namespace DR_ISA;

template <>
void FlowLoss::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  auto finish = [&](int64_t r, float sum) {
    out.loss.as<float>()[r * out.loss.stride(0)] =
        in.weight ? in.weight.as<float>()[r * in.weight.stride(0)] * sum : sum;
  };
  with_float_type(in.pred.dtype, [&]<class P>(P*) {
    with_float_type(in.target.dtype, [&]<class T>(T*) {
      auto squares = [&](int64_t r) {
        const P* pred = static_cast<const P*>(in.pred.data) + r * in.pred.stride(0);
        const T* target = static_cast<const T*>(in.target.data) + r * in.target.stride(0);
        return [=](f32v& acc, int64_t i, auto n) {
          read_ahead(pred + i), read_ahead(target + i);
          const f32v d = load_n(pred + i, n) - load_n(target + i, n);
          acc = fma(d, d, acc);
        };
      };
      for_row_sums(ctx, RowBlocks(in.pred), squares, finish);
    });
  });
}

template <>
void FlowLoss::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout, const Grad& grad) const {
  if (!grad.pred || in.pred.count() == 0) return;
  CHECK(grad.pred.packed(), "flow_loss: the gradient of pred must be packed");
  const RowBlocks blocks(in.pred);
  const bool stream = streams(View(grad.pred.data, grad.pred.dtype, {blocks.rows, blocks.cols}));
  with_float_type(in.pred.dtype, [&]<class P>(P*) {
    with_float_type(in.target.dtype, [&]<class T>(T*) {
      for_pieces(ctx, blocks.rows, blocks.cols, 2 * kRowBlock, stream, [&](int64_t r, int64_t c, int64_t count) {
        const P* pred = static_cast<const P*>(in.pred.data) + r * in.pred.stride(0) + c;
        const T* target = static_cast<const T*>(in.target.data) + r * in.target.stride(0) + c;
        P* dpred = static_cast<P*>(grad.pred.data) + r * blocks.cols + c;
        const float twice = 2.f * dout.loss.as<float>()[r * dout.loss.stride(0)];
        const f32v s = splat(in.weight ? twice * in.weight.as<float>()[r * in.weight.stride(0)] : twice);
        for_vectors(count, [&](int64_t i, auto n) {
          read_ahead(pred + i), read_ahead(target + i);
          put(dpred + i, s * (load_n(pred + i, n) - load_n(target + i, n)), n, stream);
        });
      });
    });
  });
}

}  // namespace dr
