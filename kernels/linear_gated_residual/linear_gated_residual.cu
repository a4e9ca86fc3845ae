#include "kernels/linear_gated_residual/linear_gated_residual.h"

#include "kernels/core/gpu_rows.h"
#include "kernels/core/gpu_strided.h"

#include "kernels/linear_gated_residual/gpu_gated_product.h"

namespace dr {
namespace DR_BACKEND {
namespace {

// The product itself is h; y is written beside it.
struct StoreGated {
  StoreMatrix h;
  StoreMatrix::Place batch;
  FrameGates gates;
  const void* residual;
  void* y;
  bool is_bf16;
  int64_t residual_stride, y_stride;

  template <class T>
  DR_DEVICE void put(int64_t m, int64_t n, float v) const {
    store1(static_cast<T*>(y) + m * y_stride + n,
           fma(gates(m, n), v, load1(static_cast<const T*>(residual) + m * residual_stride + n)));
  }
  DR_DEVICE void operator()(const StoreMatrix::First& first, int64_t m, int64_t n, float v) const {
    v = h.biased(first, n, v);
    static_cast<float*>(h.data)[m * h.ld + n] = v;
    if (is_bf16) put<bf16>(m, n, v);
    else put<float>(m, n, v);
  }
};

struct TimesGate {
  FrameGates gates;
  DR_DEVICE float operator()(int64_t r, int64_t c, float dy) const { return gates(r, c) * dy; }
};
template <class T>
struct GateTerm {
  RowsOf<const T> dy;
  RowsOf<const float> h;
  DR_DEVICE void operator()(int64_t r, int64_t c, float (&sums)[1]) const {
    sums[0] = fma(load1(dy.row(r) + c), h.row(r)[c], sums[0]);
  }
};

}  // namespace

void gated_product(const Context& ctx, const View& x, const View& weight, const View& bias, const FrameGates& gates,
                   const View& residual, const View& y, const View& h, size_t scratch) {
  StoreGated store{store_rows(h), {}, gates, residual.data, y.data, y.dtype == DType::bf16,
                   flat_rows(residual, "linear").stride, flat_rows(y, "linear").stride};
  add_bias(store.h, bias);
  const GemmShape shape{.batch = 1, .m = flat_rows(x, "linear").count, .n = weight.size(0), .k = weight.size(1),
                        .a_along_k = true, .b_along_k = true};
  gemm(ctx, shape, row_operand(x), operand(weight, true), store, gemm_scratch(ctx, scratch));
}

void gate_gradients(const Context& ctx, const View& dy, const View& h, const FrameGates& gates, const View& dh,
                    const View& dgate, size_t scratch) {
  const int64_t rows = flat_rows(dh, "linear").count, cols = dh.size(dh.rank() - 1);
  with_float_type(dy.dtype, [&]<class T>(T*) {
    map_rows(ctx, rows, cols, flat<float>(dh), TimesGate{gates}, flat<const T>(dy));
    const View list[] = {dgate};
    if (dgate)
      column_sums(ctx, RowGroups(dgate.size(0), rows, cols), list,
                  GateTerm<T>{flat<const T>(dy), flat<const float>(h)}, scratch);
  });
}

}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void LinearGatedResidual::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t rows = flat_rows(in.residual, name).count;
  if (rows == 0) return;
  const FrameGates gates{in.gate.as<float>(), in.gate.stride(0), rows / in.gate.size(0)};
  gated_product(ctx, in.x, in.weight, in.bias, gates, in.residual, out.y, out.h);
}

template <>
void LinearGatedResidual::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                             const Grad& grad) const {
  const int64_t rows = flat_rows(dy.y, name).count, cols = in.weight.size(0), frames = in.gate.size(0);
  const View dh(ctx.scratch_as<float>(size_t(rows * cols)), DType::f32, {rows, cols});
  const FrameGates gates{in.gate.as<float>(), in.gate.stride(0), frames ? rows / frames : 0};
  gate_gradients(ctx, dy.y, saved.h, gates, dh, grad.gate, dh.bytes());
  if (grad.residual) copy_view(ctx, dy.y, grad.residual);
  linear_gradients(ctx, dh, in.x, in.weight, grad.x, grad.weight, grad.bias, dh.bytes());
}

}  // namespace dr
