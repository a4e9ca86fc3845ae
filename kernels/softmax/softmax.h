#pragma once
// Softmax along the last axis.
//
//   y[r,c] = e[r,c] / den[r],   e[r,c] = exp(x[r,c] - m[r]),   m[r] = max_c x[r,c],   den[r] = sum_c e[r,c]
//
//   x (R,C) f32|bf16, rows may be strided    y like x
// Order: canonical row sum (kernels/core/softmax_row.h); IEEE division.
// backward, from the saved y alone: dx = y * (dy - delta), delta[r] = canonical row sum of fma(dy, y, .).
//   In bf16 the saved y has been rounded, and dx inherits the 2^-9 of it.
// A row that holds NaN or +inf, or -inf alone, is NaN. Deterministic, independent of R.
// Source: Bridle 1990, Neurocomputing NATO ASI F68; the gradient as in Dao et al. 2022, arXiv:2205.14135, appendix B.

#include "kernels/core/op.h"

namespace dr {

struct Softmax {
  static constexpr std::string_view name = "softmax";

  struct In { View x; static constexpr auto names = fields("x"); };
  struct Out { View y; static constexpr auto names = fields("y"), saved = names; };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x; static constexpr auto names = fields("x"); };

  Shapes infer(const In& in) const {
    CHECK(in.x.rank() == 2, "softmax: x must be (R,C), got {}", to_string(in.x));
    expect_float(in.x, "softmax: x");
    return {{in.x.dtype, in.x.sizes}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // An element's gradient is the sum over c' of dy[c'] dy[c']/dx: its terms are y |dy - delta| and more. y carries the
  // error of its reference's bound, twice (in the product and in delta), and delta the depth of a row sum. bf16: y is
  // off by 2^-9 = 2^15 u, in both places.
  double gradient_k(const In& in) const {
    const double depth = double((std::min<int64_t>(in.x.size(1), 4096) + 31) / 32) + 8;
    return 2 * (largest_spread(in.x) + 2 * depth + 8) + (in.x.dtype == DType::bf16 ? 0x1p17 : 0);
  }
  static double largest_spread(const View& x);  // the most that two finite elements of a row lie apart
  Cost cost(const In& in) const { return traffic(5.0 * double(in.x.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {  // reads y and dy
    const double bytes = double(in.x.bytes());
    return {4.0 * double(in.x.count()), 2 * bytes, bytes};
  }

  static std::vector<Case<Softmax>> cases() {
    auto make = [](int64_t rows, int64_t c, int samples, DType t, int64_t pad = 0, bool bench = false) {
      return Case<Softmax>({}, {.name = format("R={},C={},{}{}", rows, c, name_of(t), pad ? ",strided" : ""),
                                .in = {normal({rows, c}, 0.5, 2).as(t).padded(pad)},
                                .samples = samples,
                                .bench = bench});
    };
    std::vector<Case<Softmax>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make(6, 33, 3, t));
      list.push_back(make(4, 31, 2, t, 3));
      list.push_back(make(5, 5, 5, t));
      list.push_back(make(7, 128, 7, t));
    }
    list.push_back(make(3, 7, 1, DType::f32));
    list.push_back(make(2, 1, 2, DType::f32));
    list.back().gradient = false;  // y = 1: no gradient
    list.push_back(make(2, 4500, 2, DType::f32));  // blocks of 4096 and 404 columns
    list.push_back(make(0, 5, 1, DType::f32));
    list.push_back(make(5, 0, 1, DType::f32));
    list.push_back(Case<Softmax>({}, {.name = "sharp", .in = {normal({6, 40}, 0, 30)}, .samples = 3}));
    list.push_back(Case<Softmax>({}, {.name = "ties", .in = {values({4, 9}, {1, 1, -0.0, 0, 1, -300})}, .samples = 4}));
    list.push_back(Case<Softmax>({}, {.name = "adversarial", .in = {adversarial({6, 40})}, .samples = 3}));
    list.back().gradient = false;  // one element of a row takes all: y is 0 or 1
    list.push_back(make(32768, 1024, 1, DType::f32, 0, true));
    list.push_back(make(32768, 1024, 1, DType::bf16, 0, true));
    return list;
  }
};

}  // namespace dr
