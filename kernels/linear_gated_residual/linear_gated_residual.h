#pragma once
// A linear layer whose result enters the residual stream through a gate per frame (the last product of a block).
//
//   y[r,n] = gate[f,n] * h[r,n] + residual[r,n],   h[r,n] = sum_k x[r,k] weight[n,k] + bias[n],   f = r / (R / F)
//
//   x (..,K) f32|bf16, R rows    weight (N,K) f32|bf16    bias (N) of weight's type, may be absent    gate (F,N) f32
//   residual (..,N) f32|bf16, R rows    y like residual, packed
//   h (..,N) f32: saved for backward, which would inherit the error of a rounded one
//   Last axes contiguous. The rows of x, gate and residual may be strided, evenly: leading axes are taken as one axis
//   of rows. y may be the memory of residual.
// Order: that of Linear, then fma(gate, h, residual), before the one rounding to y. With f32 tensors the bits are
//   those of Linear and GatedResidual in turn.
// backward: dresidual = dy; dh = gate * dy, in f32; dgate[f] = column sum of dy * h over the frame's rows (chunks of
//   512 rows, an fma chain inside, chunk sums in ascending order); then the gradients of Linear from dh.
// Deterministic; y, h, dx, dgate and dresidual are independent of R and of leaves. Throws if R is no multiple of F, or
// the shapes do not fit together.
// Source: Peebles & Xie 2023, arXiv:2212.09748, section 3.2 (the scale alpha of adaLN-Zero).

#include "kernels/linear/linear.h"

namespace dr {

struct LinearGatedResidual {
  static constexpr std::string_view name = "linear_gated_residual";

  struct In {
    View x, weight, bias, gate, residual;
    static constexpr auto names = fields("x", "weight", "bias", "gate", "residual");
    static constexpr auto shared = fields("weight", "bias");
  };
  struct Out { View y, h; static constexpr auto names = fields("y", "h"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad {
    View x, weight, bias, gate, residual;
    static constexpr auto names = fields("x", "weight", "bias", "gate", "residual");
  };

  Shapes infer(const In& in) const {
    const Sizes y = linear_sizes(in.x, in.weight, in.bias, name);
    expect_sizes(in.residual, y, "linear_gated_residual: residual");
    expect_float(in.residual, "linear_gated_residual: residual");
    flat_rows(in.residual, "linear_gated_residual: residual");
    const int64_t rows = flat_rows(in.x, name).count, frames = in.gate.rank() == 2 ? in.gate.size(0) : 0;
    CHECK(frames > 0 ? rows % frames == 0 : rows == 0,
          "linear_gated_residual: {} rows do not divide into the frames of gate {}", rows, to_string(in.gate));
    expect_f32(in.gate, {frames, in.weight.size(0)}, "linear_gated_residual: gate");
    return {{in.residual.dtype, y}, {DType::f32, y}};
  }
  // dh.
  size_t scratch_bytes(const In& in, int) const { return size_t(elements(in)) * sizeof(float); }
  size_t device_scratch_bytes(const In& in) const {
    const int64_t rows = flat_rows(in.x, name).count;
    return scratch_bytes(in, 1) + std::max(linear_device_scratch(rows, in.weight),
                                           RowGroups(in.gate.size(0), rows, in.weight.size(0)).scratch_bytes(1));
  }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // dx, dweight, dbias: one product after the rounding of dh. dgate: a chain of a frame's rows over h, itself a chain
  // of K whose terms are as large as h times sqrt(K) where they are independent.
  double gradient_k(const In& in) const {
    const int64_t inner = in.weight.size(1), rows = flat_rows(in.x, name).count;
    return 2 + std::max(Linear{}.gradient_k({in.x, in.weight, in.bias}),
                        chain_depth(rows) + chain_depth(inner) * std::sqrt(double(inner)));
  }
  Cost cost(const In& in) const { return traffic(product_flops(in) + 3 * elements(in), in, infer(in)); }
  Cost backward_cost(const In& in) const {
    return backward_traffic(2 * product_flops(in) + 4 * elements(in), in, infer(in));
  }

  static double elements(const In& in) { return double(flat_rows(in.x, name).count) * double(in.weight.size(0)); }
  static double product_flops(const In& in) { return 2 * elements(in) * double(in.weight.size(1)); }

  static std::vector<Case<LinearGatedResidual>> cases() {
    auto make = [](int64_t frames, int64_t rows_per_frame, int64_t n, int64_t k, int samples, DType x = DType::f32,
                   DType w = DType::f32, DType residual = DType::f32, bool bias = true, int64_t pad = 0) {
      const int64_t rows = frames * rows_per_frame;
      std::string id = format("F={},S={},N={},K={}", frames, rows_per_frame, n, k);
      if (x != DType::f32 || w != DType::f32 || residual != DType::f32)
        id += format(",{}x{}+{}", name_of(x), name_of(w), name_of(residual));
      if (!bias) id += ",no_bias";
      if (pad) id += ",strided";
      const double deviation = 1 / std::sqrt(double(std::max<int64_t>(k, 1)));
      return Case<LinearGatedResidual>(
          {},
          {.name = id,
               .in = {normal({rows, k}, 0.1).as(x).padded(pad), normal({n, k}, 0, deviation).as(w).padded(2 * pad),
                      bias ? normal({n}).as(w) : absent(), normal({frames, n}, 0.5).padded(pad),
                      normal({rows, n}, 0, 2).as(residual).padded(3 * pad)},
               .samples = samples});
    };
    std::vector<Case<LinearGatedResidual>> list;
    list.push_back(make(4, 8, 50, 40, 4));
    list.push_back(make(3, 11, 33, 33, 3, DType::bf16, DType::f32, DType::f32, true, 3));
    list.push_back(make(4, 5, 65, 31, 2, DType::bf16, DType::bf16, DType::bf16));
    list.push_back(make(2, 7, 17, 600, 2, DType::f32, DType::f32, DType::bf16, false));
    list.push_back(make(2, 3, 7, 1100, 1));
    list.push_back(make(2, 650, 5, 3, 2));  // frames of two chunks
    list.push_back(make(3, 11, 33, 33, 3, DType::bf16, DType::bf16, DType::bf16, false, 3));
    for (int64_t s : {1, 5, 7, 31, 33}) list.push_back(make(s, 1, s, s, int(s)));
    for (auto [s, n, k] : {std::array<int64_t, 3>{0, 5, 7}, {5, 0, 7}, {5, 7, 0}}) {
      list.push_back(make(2, s, n, k, 1));
      list.back().gradient = false;  // nearly every gradient is empty or zero
    }
    list.push_back(Case<LinearGatedResidual>({}, {.name = "adversarial",
                                                  .in = {adversarial({8, 530}), adversarial({19, 530}),
                                                         adversarial({19}), adversarial({4, 19}), adversarial({8, 19})},
                                                  .samples = 2}));
    list.push_back(Case<LinearGatedResidual>(
        {}, {.name = "rank=3",
             .in = {normal({2, 6, 20}), normal({10, 20}), normal({10}), normal({4, 10}), normal({2, 6, 10})},
             .samples = 2}));
    for (int64_t k : {768, 3072}) {
      list.push_back(make(15, 128, 768, k, 1));
      list.back().bench = true;
    }
    return list;
  }
};

}  // namespace dr
