#pragma once
// A linear layer behind adaptive normalisation, without keeping the normalised rows: backward makes them again from x
// and the saved statistics, element by element.
//
//   y[r,n] = sum_k a[r,k] weight[n,k] + bias[n],   a = adaln(x, shift, scale)  (kernels/adaln/adaln.h)
//
//   x (R,K) f32|bf16, rows may be strided    shift, scale (F,K) f32, rows may be strided
//   weight (N,K) f32|bf16    bias (N) of weight's type, may be absent    y (R,N) like x, packed
//   mean (R) f32 (absent for Norm::rms), rstd (R) f32: saved for backward
// Order: that of AdaLN, kept in f32, then that of Linear. With f32 tensors the bits are those of the two in turn.
// backward: that of Linear, with da in f32, then that of AdaLN.
// Deterministic; all but the gradients of weight and bias is independent of R and of leaves. Throws as its parts do.
// Source: Peebles & Xie 2023, arXiv:2212.09748, section 3.

#include "kernels/adaln/adaln.h"
#include "kernels/linear/linear.h"

namespace dr {

struct AdaLNLinear {
  static constexpr std::string_view name = "adaln_linear";
  float eps = 1e-6f;
  Norm norm = Norm::layer;

  struct In {
    View x, shift, scale, weight, bias;
    static constexpr auto names = fields("x", "shift", "scale", "weight", "bias");
    static constexpr auto shared = fields("weight", "bias");
  };
  struct Out { View y, mean, rstd; static constexpr auto names = fields("y", "mean", "rstd"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad {
    View x, shift, scale, weight, bias;
    static constexpr auto names = fields("x", "shift", "scale", "weight", "bias");
  };

  AdaLN adaln() const { return {.eps = eps, .norm = norm}; }
  static AdaLN::In adaln_in(const In& in) { return {in.x, in.shift, in.scale}; }
  static Linear::In linear_in(const In& in) { return {in.x, in.weight, in.bias}; }

  Shapes infer(const In& in) const {
    Shapes shapes = adaln().infer(adaln_in(in));
    shapes[0].sizes = linear_sizes(in.x, in.weight, in.bias, name);
    return shapes;
  }
  // The normalised rows, later their gradient; and what AdaLN needs.
  static size_t rows_bytes(const In& in) { return (size_t(in.x.count()) * sizeof(float) + 63) / 64 * 64; }
  size_t scratch_bytes(const In& in, int threads) const {
    return rows_bytes(in) + adaln().scratch_bytes(adaln_in(in), threads);
  }
  size_t device_scratch_bytes(const In& in) const {
    return rows_bytes(in) + std::max(adaln().scratch_bytes(adaln_in(in), 1),
                                     linear_device_scratch(in.x.size(0), in.weight));
  }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // What the gradients of the parts are off by adds up.
  double gradient_k(const In& in) const {
    return adaln().gradient_k(adaln_in(in)) + Linear{}.gradient_k(linear_in(in));
  }
  Cost cost(const In& in) const {
    return traffic(2 * Linear::multiply_adds(linear_in(in)) + 9 * double(in.x.count()), in, infer(in));
  }
  Cost backward_cost(const In& in) const {
    return backward_traffic(4 * Linear::multiply_adds(linear_in(in)) + 18 * double(in.x.count()), in, infer(in));
  }

  static std::vector<Case<AdaLNLinear>> cases() {
    auto make = [](int64_t frames, int64_t rows_per_frame, int64_t n, int64_t k, int samples, Norm norm,
                   DType t = DType::f32, DType w = DType::f32, bool bias = true, int64_t pad = 0) {
      const double deviation = 1 / std::sqrt(double(k));
      return Case<AdaLNLinear>(
          {.norm = norm},
          {.name = format("F={},S={},N={},K={},{}x{}{}{}{}", frames, rows_per_frame, n, k, name_of(t), name_of(w),
                          norm == Norm::rms ? ",rms" : "", bias ? "" : ",no_bias", pad ? ",strided" : ""),
           .in = {normal({frames * rows_per_frame, k}, 0.3, 2).as(t).padded(pad), normal({frames, k}).padded(pad),
                  normal({frames, k}, 0, 0.5).padded(pad), normal({n, k}, 0, deviation).as(w).padded(pad),
                  bias ? normal({n}).as(w) : absent()},
           .samples = samples});
    };
    std::vector<Case<AdaLNLinear>> list;
    for (Norm norm : {Norm::layer, Norm::rms}) {
      list.push_back(make(4, 5, 31, 33, 4, norm));
      list.push_back(make(2, 7, 50, 64, 2, norm, DType::bf16, DType::f32, true, 3));
      list.push_back(make(3, 1, 7, 5, 3, norm, DType::bf16, DType::bf16, false));
    }
    list.push_back(make(2, 3, 5, 600, 2, Norm::layer));
    list.push_back(make(2, 650, 5, 3, 2, Norm::layer));  // leaves and frames of two chunks
    list.push_back(make(0, 1, 5, 7, 1, Norm::layer));
    list.back().gradient = false;
    list.push_back(Case<AdaLNLinear>({}, {.name = "adversarial",
                                          .in = {adversarial({6, 40}), normal({3, 40}), normal({3, 40}),
                                                 normal({19, 40}), normal({19})},
                                          .samples = 3}));
    list.push_back(make(15, 128, 2304, 768, 1, Norm::layer));
    list.back().bench = true;
    return list;
  }
};

}  // namespace dr
