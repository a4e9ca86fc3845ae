#include "kernels/linear_gated_residual/linear_gated_residual.h"
#include "kernels/linear/linear_kernels.h"
#include "kernels/linear_gated_residual/residual_beside.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kRowsPerPiece = 8;  // of parallel work: 8 rows of 768 are a few microseconds

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void LinearGatedResidual::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const FlatRows residual = flat_rows(in.residual, name), y = flat_rows(out.y, name);
  if (residual.count == 0) return;
  const int64_t rows_per_frame = residual.count / in.gate.size(0);
  with_float_type(out.y.dtype, [&]<class T>(T*) {
    with_bias(in.bias, [&](auto add_bias) {
      linear_product<float>(
          ctx, in.x, in.weight, out.h,
          ResidualBeside<decltype(add_bias), T>{add_bias, static_cast<const T*>(in.residual.data),
                                                static_cast<T*>(out.y.data), static_cast<const float*>(in.gate.data),
                                                residual.stride, y.stride, in.gate.stride(0), rows_per_frame, 0});
    });
  });
}

template <>
void LinearGatedResidual::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                             const Grad& grad) const {
  const FlatRows rows = flat_rows(dy.y, name), h_rows = flat_rows(saved.h, name);
  const int64_t cols = in.weight.size(0), frames = in.gate.size(0), rows_per_frame = frames ? rows.count / frames : 0;
  float* const dh = ctx.scratch_as<float>(size_t(rows.count * cols));
  with_float_type(dy.y.dtype, [&]<class T>(T*) {
    const T* const d = static_cast<const T*>(dy.y.data);
    T* const dresidual = static_cast<T*>(grad.residual.data);
    const int64_t dresidual_stride = grad.residual ? flat_rows(grad.residual, name).stride : 0;
    ctx.parallel(rows.count, kRowsPerPiece, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++) {
        const float* gate = static_cast<const float*>(in.gate.data) + r / rows_per_frame * in.gate.stride(0);
        for_vectors(cols, [&](int64_t i, auto n) {
          const f32v v = load_n(d + r * rows.stride + i, n);
          store_n(dh + r * cols + i, load_n(gate + i, n) * v, n);
          if (dresidual) store_n(dresidual + r * dresidual_stride + i, v, n);
        });
      }
    });
    if (grad.gate)
      column_chains(ctx, rows_per_frame, grad.gate, [&](f32v& sum, int64_t r, int64_t c, auto n) {
        sum = fma(load_n(d + r * rows.stride + c, n),
                  load_n(saved.h.as<float>() + r * h_rows.stride + c, n), sum);
      });
  });
  linear_gradients(ctx, dh, cols, in.x, in.weight, grad.x, grad.weight, grad.bias);
}

}  // namespace dr
