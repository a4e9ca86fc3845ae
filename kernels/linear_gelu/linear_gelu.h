#pragma once
// A linear layer with GELU behind it (the first half of a transformer's MLP).
//
//   y[r,n] = gelu_tanh(pre[r,n]),   pre[r,n] = sum_k x[r,k] weight[n,k] + bias[n]
//
//   x (..,K) f32|bf16, R rows    weight (N,K) f32|bf16    bias (N) of weight's type, may be absent
//   y (..,N) like x, packed    pre (..,N) f32: saved for backward, which would inherit the error of a rounded one
//   Last axes contiguous. The rows of x may be strided, evenly: its leading axes are taken as one axis of R rows.
// Order: that of Linear, then gelu_math.h element by element, before the one rounding to y. With f32 tensors the bits
//   are those of Linear and Gelu in turn.
// backward: dpre = dy * gelu_tanh'(pre), in f32; then the gradients of Linear.
// Deterministic; y, pre and dx are independent of R and of leaves. Throws if the shapes do not fit together.
// Source: Hendrycks & Gimpel 2016, arXiv:1606.08415.

#include "kernels/linear/linear.h"

namespace dr {

struct LinearGelu {
  static constexpr std::string_view name = "linear_gelu";

  struct In {
    View x, weight, bias;
    static constexpr auto names = fields("x", "weight", "bias");
    static constexpr auto shared = fields("weight", "bias");
  };
  struct Out { View y, pre; static constexpr auto names = fields("y", "pre"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x, weight, bias; static constexpr auto names = fields("x", "weight", "bias"); };

  Shapes infer(const In& in) const {
    const Sizes y = linear_sizes(in.x, in.weight, in.bias, name);
    return {{in.x.dtype, y}, {DType::f32, y}};
  }
  // dpre.
  size_t scratch_bytes(const In& in, int) const {
    return size_t(flat_rows(in.x, name).count * in.weight.size(0)) * sizeof(float);
  }
  size_t device_scratch_bytes(const In& in) const {
    return scratch_bytes(in, 1) + linear_device_scratch(flat_rows(in.x, name).count, in.weight);
  }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // dpre carries Gelu's error (48, see its contract) and that of pre, a chain of K whose terms are as large as pre
  // itself times sqrt(K) where they are independent; then comes the chain of a Linear gradient.
  double gradient_k(const In& in) const {
    const int64_t inner = in.weight.size(1);
    return Linear{}.gradient_k({in.x, in.weight, in.bias}) + 48 + chain_depth(inner) * std::sqrt(double(inner));
  }
  Cost cost(const In& in) const { return traffic(product_flops(in) + 9 * elements(in), in, infer(in)); }
  Cost backward_cost(const In& in) const {
    return backward_traffic(2 * product_flops(in) + 15 * elements(in), in, infer(in));
  }

  static double elements(const In& in) { return double(flat_rows(in.x, name).count) * double(in.weight.size(0)); }
  static double product_flops(const In& in) { return 2 * elements(in) * double(in.weight.size(1)); }

  static std::vector<Case<LinearGelu>> cases() {
    // The same data suit both layers.
    std::vector<Case<LinearGelu>> list;
    for (const Case<Linear>& c : Linear::cases()) list.push_back(Case<LinearGelu>({}, c));
    return list;
  }
};

}  // namespace dr
