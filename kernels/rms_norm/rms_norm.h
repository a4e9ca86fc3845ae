#pragma once
// Root-mean-square normalisation with an optional weight per column.
//
//   y[r,c] = xhat[r,c] * weight[c],   xhat[r,c] = x[r,c] * rstd[r],   rstd = rsqrt(sum_c x^2 / C + eps)
//
//   x (R,C) f32|bf16, rows may be strided    weight (C) f32, may be absent (1)    y like x    rstd (R) f32: saved
// Order: as LayerNorm without its mean. Canonical row sum of squares by fma; y = fma(xhat, weight, +0): zeros are +0.
// backward: g = dy * weight; dx = rstd * fma(-xhat, sum(g * xhat)/C, g); per leaf (R / leaves rows in order):
//   dweight = column sum of dy * xhat (fma chain).
// Deterministic, independent of R. Throws if C == 0.
// Source: Zhang & Sennrich 2019, arXiv:1910.07467.

#include "kernels/core/op.h"
#include "kernels/core/row_groups.h"

namespace dr {

struct RmsNorm {
  static constexpr std::string_view name = "rms_norm";
  float eps = 1e-5f;

  struct In {
    View x, weight;
    static constexpr auto names = fields("x", "weight");
    static constexpr auto shared = fields("weight");
  };
  struct Out { View y, rstd; static constexpr auto names = fields("y", "rstd"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x, weight; static constexpr auto names = fields("x", "weight"); };

  Shapes infer(const In& in) const {
    CHECK(in.x.rank() == 2 && in.x.size(1) > 0, "rms_norm: x must be (R,C) with C > 0, got {}", to_string(in.x));
    expect_float(in.x, "rms_norm: x");
    if (in.weight) expect_f32(in.weight, {in.x.size(1)}, "rms_norm: weight");
    return {{in.x.dtype, in.x.sizes}, {DType::f32, {in.x.size(0)}}};
  }
  // Chunk sums of the leaves' rows: one leaf needs the most.
  size_t scratch_bytes(const In& in, int) const { return RowGroups(1, in.x.size(0), in.x.size(1)).scratch_bytes(2); }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // Two row sums and the saved rstd feed each element of dx: relative errors of a few row-sum depths add up. A column
  // sum is as deep as a chunk is long.
  double gradient_k(const In& in) const {
    return 24 + 3.0 * double((in.x.size(1) + 31) / 32 + std::min<int64_t>(in.x.size(0), 520));
  }
  Cost cost(const In& in) const { return traffic(5.0 * double(in.x.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const { return backward_traffic(11.0 * double(in.x.count()), in, infer(in)); }

  static std::vector<Case<RmsNorm>> cases() {
    auto make = [](int64_t rows, int64_t c, int samples, DType t, bool weight, int64_t pad = 0, bool bench = false) {
      return Case<RmsNorm>({}, {.name = format("R={},C={},{}{}{}", rows, c, name_of(t), weight ? "" : ",no weight",
                                               pad ? ",strided" : ""),
                                .in = {normal({rows, c}, 0.3, 2).as(t).padded(pad),
                                       weight ? normal({c}, 1, 0.5) : absent()},
                                .samples = samples,
                                .bench = bench});
    };
    std::vector<Case<RmsNorm>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make(20, 33, 4, t, true));
      list.push_back(make(62, 64, 2, t, true, 3));
      list.push_back(make(7, 31, 7, t, false));
      list.push_back(make(5, 5, 5, t, true));
    }
    list.push_back(make(1, 1, 1, DType::f32, true));
    list.back().gradient = false;  // of one column, |x| has no effect
    list.push_back(make(1030, 7, 2, DType::f32, true));    // chunks of 512 and 3 rows
    list.push_back(make(3, 5000, 1, DType::f32, true));    // blocks of 4096 and 904 columns
    list.push_back(make(0, 5, 1, DType::f32, true));
    list.back().gradient = false;
    list.push_back(
        Case<RmsNorm>({}, {.name = "adversarial", .in = {adversarial({6, 40}), normal({40})}, .samples = 3}));
    list.push_back(make(32768, 768, 1, DType::f32, true, 0, true));
    list.push_back(make(393216, 64, 1, DType::f32, true, 0, true));  // the heads of 32768 tokens
    return list;
  }
};

}  // namespace dr
