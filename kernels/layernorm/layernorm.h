#pragma once
// Layer normalisation with an optional weight and bias per column.
//
//   y[r,c] = xhat[r,c] * weight[c] + bias[c],   xhat[r,c] = (x[r,c] - mean[r]) * rstd[r]
//   mean = sum_c x / C,  rstd = rsqrt(sum_c (x - mean)^2 / C + eps)
//
//   x (R,C) f32|bf16, rows may be strided    weight, bias (C) f32, either may be absent (1 and 0)    y like x
//   mean, rstd (R) f32: saved for backward
// Order: as AdaLN. Canonical row sums; squares are added by fma; y = fma(xhat, weight, bias).
// backward: g = dy * weight; dx = rstd * ((g - sum(g)/C) - xhat * (sum(g * xhat)/C)); per leaf (R / leaves rows in
//   order): dbias = column sum of dy, dweight = column sum of dy * xhat (fma chain).
// Deterministic, independent of R. Throws if C == 0.
// Source: Ba, Kiros & Hinton 2016, arXiv:1607.06450.

#include "kernels/core/op.h"
#include "kernels/core/row_groups.h"

namespace dr {

struct LayerNorm {
  static constexpr std::string_view name = "layernorm";
  float eps = 1e-5f;

  struct In {
    View x, weight, bias;
    static constexpr auto names = fields("x", "weight", "bias");
    static constexpr auto shared = fields("weight", "bias");
  };
  struct Out { View y, mean, rstd; static constexpr auto names = fields("y", "mean", "rstd"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x, weight, bias; static constexpr auto names = fields("x", "weight", "bias"); };

  Shapes infer(const In& in) const {
    CHECK(in.x.rank() == 2 && in.x.size(1) > 0, "layernorm: x must be (R,C) with C > 0, got {}", to_string(in.x));
    expect_float(in.x, "layernorm: x");
    if (in.weight) expect_f32(in.weight, {in.x.size(1)}, "layernorm: weight");
    if (in.bias) expect_f32(in.bias, {in.x.size(1)}, "layernorm: bias");
    return {{in.x.dtype, in.x.sizes}, {DType::f32, {in.x.size(0)}}, {DType::f32, {in.x.size(0)}}};
  }
  // Chunk sums of the leaves' rows: one leaf needs the most.
  size_t scratch_bytes(const In& in, int) const { return RowGroups(1, in.x.size(0), in.x.size(1)).scratch_bytes(2); }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // Two row sums and the saved statistics feed each element of dx: relative errors of a few row-sum depths add up.
  // A column sum is as deep as a chunk is long.
  double gradient_k(const In& in) const {
    return 24 + 3.0 * double((in.x.size(1) + 31) / 32 + std::min<int64_t>(in.x.size(0), 520));
  }
  Cost cost(const In& in) const { return traffic(9.0 * double(in.x.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const { return backward_traffic(15.0 * double(in.x.count()), in, infer(in)); }

  static std::vector<Case<LayerNorm>> cases() {
    auto make = [](int64_t rows, int64_t c, int samples, DType t, bool weight, bool bias, int64_t pad = 0) {
      return Case<LayerNorm>({}, {.name = format("R={},C={},{}{}{}{}", rows, c, name_of(t), weight ? "" : ",no weight",
                                                 bias ? "" : ",no bias", pad ? ",strided" : ""),
                                  .in = {normal({rows, c}, 0.3, 2).as(t).padded(pad),
                                         weight ? normal({c}, 1, 0.5) : absent(), bias ? normal({c}) : absent()},
                                  .samples = samples});
    };
    std::vector<Case<LayerNorm>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make(20, 33, 4, t, true, true));
      list.push_back(make(62, 64, 2, t, true, true, 3));
      list.push_back(make(7, 31, 7, t, false, true));
      list.push_back(make(5, 40, 5, t, false, false));
    }
    list.push_back(make(1, 1, 1, DType::f32, true, true));
    list.back().gradient = false;  // of one column x and weight have none
    list.push_back(make(1030, 7, 2, DType::f32, true, true));  // chunks of 512 and 3 rows
    list.push_back(make(3, 5000, 1, DType::f32, true, false));  // blocks of 4096 and 904 columns
    list.push_back(make(0, 5, 1, DType::f32, true, true));
    list.back().gradient = false;
    list.push_back(Case<LayerNorm>(
        {}, {.name = "adversarial", .in = {adversarial({6, 40}), normal({40}), normal({40})}, .samples = 3}));
    Case<LayerNorm> big = make(32768, 768, 1, DType::f32, true, true);
    big.bench = true;
    list.push_back(big);
    return list;
  }
};

}  // namespace dr
