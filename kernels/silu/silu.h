#pragma once
// Sigmoid linear unit (swish), element by element.
//
//   y = x * s,   s = sigmoid(x) = 1 / (1 + exp(-x))
//
//   x f32|bf16 of any shape, packed but for the stride of axis 0    y like x
// Order: sigmoid as in kernels/core/sigmoid.h, one product.
// backward: dx = dy * (s * fma(x, 1 - s, 1)); the input is all that is kept for it.
// NaN gives NaN; +inf gives +inf; -inf gives NaN (infinity times 0), as the formula does. Below x = -88.7, y is -0.
// Source: Hendrycks & Gimpel 2016, arXiv:1606.08415; Elfwing et al. 2017, arXiv:1702.03118.

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
    CHECK(in.x.packed(1), "silu: x must be packed from its second axis on, got {} with strides {}, {}, ...",
          to_string(in.x), in.x.stride(0), in.x.stride(1));
    return {{in.x.dtype, in.x.sizes}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // s is off by 3 u, 1 - s by 1 u of 1 beside that, and both products and the fma round: 3 |y'| + |x| s (3 s + 2) + 3
  // |y'|, less than 10 u everywhere. Near x = -1.28, where y' vanishes, the error is under 2 u, and a sixteenth of the
  // tensor's mean |y'|, about 1/30, stands in for y'.
  double gradient_k(const In&) const { return 64; }
  Cost cost(const In& in) const { return traffic(5.0 * double(in.x.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {  // reads x and dy
    const double bytes = double(in.x.bytes());
    return {9.0 * double(in.x.count()), 2 * bytes, bytes};
  }

  static std::vector<Case<Silu>> cases() {
    auto make = [](std::string_view what, Input x, int samples, bool bench = false) {
      return Case<Silu>({}, {.name = format("{},{}", what, name_of(x.dtype)),
                             .in = {std::move(x)},
                             .samples = samples,
                             .bench = bench});
    };
    std::vector<Case<Silu>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make("N=5", normal({5}).as(t), 1));
      list.push_back(make("R=7,C=33", normal({7, 33}, 0, 2).as(t), 7));
      list.push_back(make("R=6,C=31,strided", normal({6, 31}, 0, 2).as(t).padded(3), 3));
      list.push_back(make("B=2,T=3,S=5,C=64", uniform({2, 3, 5, 64}, -8, 8).as(t), 2));
    }
    list.push_back(make("empty", normal({0, 5}), 1));
    list.push_back(make("edges", values({15}, {0.0, -0.0, 1e-38, -1e-38, 3, -3, 20, -20, 87.2, -87.2, -88.5, -88.8, -95,
                                               3e38, -3e38}), 1));
    list.push_back(make("adversarial", adversarial({8, 40}), 8));
    list.push_back(make("R=32768,C=1024", normal({32768, 1024}), 1, true));
    list.push_back(make("R=32768,C=1024", normal({32768, 1024}).as(DType::bf16), 1, true));
    return list;
  }
};

}  // namespace dr
