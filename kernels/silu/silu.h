#pragma once
// Sigmoid linear unit (swish), element by element.
//
//   y = x * sigmoid(x)
//
//   x f32|bf16 of any shape and strides    y like x, packed
// Order: s = sigmoid(x) as in core/sigmoid.h, y = x * s.
// backward: e = min(exp(-x), the largest f32), s = 1 / (1 + e), dx = dy * (s * fma(x, e * s, 1)): e s is 1 - s without
// the
//   cancellation.
// NaN gives NaN; +inf gives +inf; -inf gives NaN (0 times infinity). A result below 2^-121 (x < -88.7) may be -0.
// Source: Elfwing, Uchibe & Doya 2018, arXiv:1702.03118; Hendrycks & Gimpel 2016, arXiv:1606.08415.

#include "kernels/core/op.h"

namespace dr {

struct Silu {
  static constexpr std::string_view name = "silu";

  struct In { View x; static constexpr auto names = fields("x"); };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x; static constexpr auto names = fields("x"); };

  Shapes infer(const In& in) const {
    CHECK(in.x.present(), "silu: x is absent");
    expect_float(in.x, "silu: x");
    return {{in.x.dtype, in.x.sizes}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // y' = s (1 + x e s): s is off by 3 u, x e s by 5 u of itself, and the fma, the two products by one each. At x =
  // -1.28, where y' vanishes and x e s = -1, that is 1.4 u, against a sixteenth of the mean of |y'|, about 1/32.
  double gradient_k(const In&) const { return 48; }
  Cost cost(const In& in) const { return traffic(4.0 * double(in.x.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {  // reads x and dy
    const double bytes = double(in.x.bytes());
    return {8.0 * double(in.x.count()), 2 * bytes, bytes};
  }

  static std::vector<Case<Silu>> cases() {
    auto make = [](std::string_view what, Input x, int samples) {
      return Case<Silu>({},
                        {.name = format("{},{}", what, name_of(x.dtype)), .in = {std::move(x)}, .samples = samples});
    };
    std::vector<Case<Silu>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make("N=5", normal({5}).as(t), 1));
      list.push_back(make("R=7,C=33", normal({7, 33}, 0, 2).as(t), 7));
      list.push_back(make("R=6,C=31,strided", normal({6, 31}, 0, 2).as(t).padded(3), 3));
      list.push_back(make("B=2,T=3,S=5,C=64", uniform({2, 3, 5, 64}, -9, 9).as(t), 2));
    }
    list.push_back(make("empty", normal({0, 5}), 1));
    list.push_back(
        make("edges",
             values({15}, {0.0, -0.0, 1e-38, -1e-38, 3, -3, 17, -17, 87.2, -87.2, 88.5, -88.5, 90, -90, -3e38}), 1));
    list.back().gradient = false;  // differences of 1e-38 and 3e38
    list.push_back(make("adversarial", adversarial({8, 40}), 8));
    list.back().gradient = false;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make("R=32768,C=1024", normal({32768, 1024}).as(t), 1));
      list.back().bench = true;
    }
    return list;
  }
};

}  // namespace dr
