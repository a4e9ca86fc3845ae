#include "kernels/squeeze_excite/squeeze_excite.h"

#include "kernels/core/gpu_channel_stats.h"
#include "kernels/core/gpu_gemm.h"
#include "kernels/core/sigmoid.h"

namespace dr {
namespace DR_BACKEND {
namespace {

// ---- sums over the pixels of an image ----

template <class T>
struct Pixels {
  UnitRows<const T> x;
  DR_DEVICE auto operator()(int64_t n, int64_t c) const {
    return [from = x.row(n, 0) + c, stride = x.row_stride](int64_t p, float (&sum)[1]) {
      sum[0] += load1(from + p * stride);
    };
  }
};
struct StoreMean {
  float* squeeze;
  int64_t channels;
  float count;
  DR_DEVICE void operator()(int64_t n, int64_t c, const float (&sum)[1]) const {
    squeeze[n * channels + c] = sum[0] / count;
  }
};

template <class T>
struct GatedPixels {
  UnitRows<const T> x, dy;
  DR_DEVICE auto operator()(int64_t n, int64_t c) const {
    return [from = x.row(n, 0) + c, d = dy.row(n, 0) + c, x_stride = x.row_stride,
            dy_stride = dy.row_stride](int64_t p, float (&sum)[1]) {
      sum[0] = fma(load1(d + p * dy_stride), load1(from + p * x_stride), sum[0]);
    };
  }
};
struct StoreGateGradient {
  const float* gate;
  float* dz;
  int64_t channels;
  DR_DEVICE void operator()(int64_t n, int64_t c, const float (&sum)[1]) const {
    const float g = gate[n * channels + c];
    dz[n * channels + c] = sum[0] * (g * (1.f - g));
  }
};

// ---- what becomes of the products ----

struct Bias {
  const void* data;
  bool is_bf16;
  explicit Bias(const View& v) : data(v.data), is_bf16(v.dtype == DType::bf16) {}
  DR_DEVICE float operator()(int64_t i) const {
    return is_bf16 ? load1(static_cast<const bf16*>(data) + i) : load1(static_cast<const float*>(data) + i);
  }
};
struct StoreHidden {
  float* hidden;
  int64_t width;
  Bias bias;
  DR_DEVICE void operator()(int64_t, int64_t n, int64_t r, float v) const {
    v = v + bias(r);
    hidden[n * width + r] = v < 0.f ? 0.f : v;
  }
};
struct StoreGate {
  float* gate;
  int64_t channels;
  Bias bias;
  DR_DEVICE void operator()(int64_t, int64_t n, int64_t c, float v) const {
    gate[n * channels + c] = sigmoid(v + bias(c));
  }
};
struct StoreHiddenGradient {
  const float* hidden;
  float* da;
  int64_t width;
  DR_DEVICE void operator()(int64_t, int64_t n, int64_t r, float v) const {
    da[n * width + r] = hidden[n * width + r] <= 0.f ? 0.f : v;
  }
};
struct StoreShare {
  float* ds;
  int64_t channels;
  float count;
  DR_DEVICE void operator()(int64_t, int64_t n, int64_t c, float v) const { ds[n * channels + c] = v / count; }
};

// store(n, i, sum_k x[n,k] weight[i,k]).
template <class Store>
void product(const Context& ctx, const View& x, const View& weight, const Store& store) {
  gemm(ctx, GemmShape{1, x.size(0), weight.size(0), weight.size(1), true, true}, operand(x, false), operand(weight, true),
       store);
}
// store(n, k, sum_i dy[n,i] weight[i,k]).
template <class Store>
void product_back(const Context& ctx, const View& dy, const View& weight, const Store& store) {
  gemm(ctx, GemmShape{1, dy.size(0), weight.size(1), weight.size(0), true, false}, operand(dy, false), operand(weight, false),
       store);
}

struct Column {
  const float* dy;
  int64_t cols;
  DR_DEVICE void operator()(int64_t r, int64_t c, float (&sum)[1]) const { sum[0] += dy[r * cols + c]; }
};
// Per leaf: dweight = dy^T x, dbias = column sums of dy; dy and x f32, packed.
void weight_gradients(const Context& ctx, const View& dy, const View& x, const View& dweight, const View& dbias,
                      size_t scratch) {
  const int64_t leaves = ctx.leaves, rows = dy.size(0) / leaves, n = dy.size(1), k = x.size(1);
  if (dweight)
    gemm(ctx, GemmShape{leaves, n, k, rows, false, false}, operand(View(dy.data, DType::f32, {leaves, rows, n}), true),
         operand(View(x.data, DType::f32, {leaves, rows, k}), false), store_matrix(dweight));
  const View grads[] = {dbias};
  column_sums(ctx, RowGroups(leaves, dy.size(0), n), grads, Column{dy.as<float>(), n}, scratch);
}

// ---- pixels ----

// y = fma(x, gate, shift); shift null: x gate.
template <class T>
struct Gated {
  UnitRows<const T> x;
  UnitRows<T> y;
  int64_t rows, channels;
  const float *gate, *shift;

  DR_DEVICE void operator()(int64_t r, int64_t c, int left) const {
    const int64_t n = r / rows, p = r % rows, at = n * channels + c;
    const Run g = load_run(gate + at, left);
    Run v = load_run(x.row(n, p) + c, left);
    if (shift) {
      const Run s = load_run(shift + at, left);
      DR_UNROLL
      for (int j = 0; j < kRun; j++) v[j] = fma(v[j], g[j], s[j]);
    } else {
      DR_UNROLL
      for (int j = 0; j < kRun; j++) v[j] = v[j] * g[j];
    }
    store_run(y.row(n, p) + c, v, left);
  }
};
template <class T>
void gated(const Context& ctx, const View& x, const View& gate, const View& shift, const View& y) {
  const int64_t rows = x.size(1) * x.size(2), channels = x.size(3);
  for_runs(ctx, x.size(0) * rows, channels,
           Gated<T>{unit_rows<const T>(x, 1), unit_rows<T>(y, 1), rows, channels, gate.as<float>(),
                    shift ? shift.as<float>() : nullptr});
}

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void SqueezeExcite::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  if (in.x.count() == 0) return;
  const int64_t samples = in.x.size(0), pixels = in.x.size(1) * in.x.size(2), channels = in.x.size(3);
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    column_totals<1>(ctx, RowGroups(samples, samples * pixels, channels), Pixels<T>{unit_rows<const T>(in.x, 1)},
                     StoreMean{out.squeeze.as<float>(), channels, float(pixels)});
    product(ctx, out.squeeze, in.reduce, StoreHidden{out.hidden.as<float>(), in.reduce.size(0), Bias(in.reduce_bias)});
    product(ctx, out.hidden, in.expand, StoreGate{out.gate.as<float>(), channels, Bias(in.expand_bias)});
    gated<T>(ctx, in.x, out.gate, {}, out.y);
  });
}

template <>
void SqueezeExcite::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dout,
                                       const Grad& grad) const {
  const int64_t samples = in.x.size(0), pixels = in.x.size(1) * in.x.size(2), channels = in.x.size(3),
                width = in.reduce.size(0);
  CHECK(samples % ctx.leaves == 0, "squeeze_excite: {} samples do not divide into {} leaves", samples, ctx.leaves);
  const size_t sums = size_t(samples * ((chunks(in.x) + 2) * channels + width));
  float *const partial = ctx.scratch_as<float>(sums), *const dz = partial + samples * chunks(in.x) * channels,
               *const ds = dz + samples * channels, *const da = ds + samples * channels;
  const View dz_view(dz, DType::f32, {samples, channels}), ds_view(ds, DType::f32, {samples, channels}),
      da_view(da, DType::f32, {samples, width});
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    column_totals<1>(ctx, RowGroups(samples, samples * pixels, channels),
                     GatedPixels<T>{unit_rows<const T>(in.x, 1), unit_rows<const T>(dout.y, 1)},
                     StoreGateGradient{saved.gate.as<float>(), dz, channels});
    weight_gradients(ctx, dz_view, saved.hidden, grad.expand, grad.expand_bias, sums * sizeof(float));
    if (!grad.x && !grad.reduce && !grad.reduce_bias) return;
    product_back(ctx, dz_view, in.expand, StoreHiddenGradient{saved.hidden.as<float>(), da, width});
    weight_gradients(ctx, da_view, saved.squeeze, grad.reduce, grad.reduce_bias, sums * sizeof(float));
    if (!grad.x || samples == 0) return;
    product_back(ctx, da_view, in.reduce, StoreShare{ds, channels, float(pixels)});
    gated<T>(ctx, dout.y, saved.gate, ds_view, grad.x);
  });
}

}  // namespace dr
