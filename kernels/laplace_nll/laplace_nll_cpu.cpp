#include "kernels/laplace_nll/laplace_nll.h"

#include "kernels/laplace_nll/laplace_row.h"

namespace dr {
namespace DR_ISA {
namespace {

template <class P, class T>
LaplaceRow<P, T> laplace_row(const LaplaceNll::In& in, int64_t r, float floor) {
  return {row_of<const P>(in.mean, r), row_of<const P>(in.log_scale, r), row_of<const T>(in.target, r),
          row_if<float>(in.weight, r), floor};
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void LaplaceNll::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_types(in.mean.dtype, in.target.dtype, [&]<class P, class T>(P*, T*) {
    auto terms = [&](int64_t r) {
      return [row = laplace_row<P, T>(in, r, min_log_scale)](f32v& acc, int64_t i, auto n) {
        row.add_nll(acc, i, n);
      };
    };
    for_row_sums(ctx, RowBlocks(in.mean), terms, [&](int64_t r, float sum) { *row_of<float>(out.loss, r) = sum; });
  });
}

template <>
void LaplaceNll::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout,
                                    const Grad& grad) const {
  const RowBlocks b(in.mean);
  with_float_types(in.mean.dtype, in.target.dtype, [&]<class P, class T>(P*, T*) {
    for_pieces(ctx, b.rows, b.cols, kLossPiece, false, [&](int64_t r, int64_t c, int64_t count) {
      P* const dmean = grad.mean ? row_of<P>(grad.mean, r) + c : nullptr;
      P* const dscale = grad.log_scale ? row_of<P>(grad.log_scale, r) + c : nullptr;
      laplace_row<P, T>(in, r, min_log_scale)
          .from(c)
          .for_gradients(count, *row_of<const float>(dout.loss, r), [&](int64_t i, f32v dm, f32v ds, auto n) {
            if (dmean) store_n(dmean + i, dm, n);
            if (dscale) store_n(dscale + i, ds, n);
          });
    });
  });
}

}  // namespace dr
