#pragma once
// Gaussian error linear unit, element by element.
//
//   GeluKind::tanh   y = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
//   GeluKind::erf    y = x/2 (1 + erf(x / sqrt(2)))
//
//   x f32|bf16 of any shape, packed but for the stride of axis 0    y like x
// Order: one expression per element, stated with every rounding in gelu_math.h (tanh as the logistic function it is:
//   y = x / (1 + exp(-x (a + b x^2))), which keeps the relative accuracy of the negative tail; the erf form is, with
//   h = x/2, y = h E(x) + h in one fma, and its y' = 1/2 + S(x), where E = erf(x / sqrt(2)) and S = y' - 1/2 are
//   piecewise polynomials evaluated in f32 from gelu_tables.h, within 2.2 u relative, u = 2^-24).
// backward: dx = dy * y'(x), y' as in gelu_math.h; the input is all that is kept for it.
// NaN gives NaN; +inf gives +inf; -inf gives NaN (0 times infinity); every finite x gives a finite y and y'.
// A result of the tanh form below 2^-124 may be -0 instead.
// Source: Hendrycks & Gimpel 2016, arXiv:1606.08415.

#include "kernels/core/op.h"

namespace dr {

enum class GeluKind : uint8_t { tanh, erf };

struct Gelu {
  static constexpr std::string_view name = "gelu";
  GeluKind kind = GeluKind::tanh;

  struct In { View x; static constexpr auto names = fields("x"); };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x; static constexpr auto names = fields("x"); };

  Shapes infer(const In& in) const {
    expect_float(in.x, "gelu: x");
    CHECK(in.x.present(), "gelu: x is absent");
    CHECK(in.x.packed(1), "gelu: x must be packed from its second axis on, got {} with strides {}, {}, ...",
          to_string(in.x), in.x.stride(0), in.x.stride(1));
    return {{in.x.dtype, in.x.sizes}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // To first order y' of the tanh form is off by up to 8 u (at x = 1.5), of the erf form by 3 u (at x = 1.4), and both
  // by 2 u at x = -0.75, where y' vanishes and a sixteenth of the tensor's mean, about 1/30, stands in for it.
  double gradient_k(const In&) const { return 96; }
  // tanh: an exponential, a division and 6 more, and about twice that for the derivative; erf: nine fma for either, and
  // 2 or 3 more.
  Cost cost(const In& in) const {
    return traffic((kind == GeluKind::tanh ? 8.0 : 20.0) * double(in.x.count()), in, infer(in));
  }
  Cost backward_cost(const In& in) const {  // reads x and dy
    const double bytes = double(in.x.bytes());
    return {(kind == GeluKind::tanh ? 14.0 : 19.0) * double(in.x.count()), 2 * bytes, bytes};
  }

  static std::vector<Case<Gelu>> cases() {
    auto make = [](GeluKind kind, std::string_view what, Input x, int samples) {
      return Case<Gelu>({.kind = kind},
                        {.name = format("{}{},{}", kind == GeluKind::erf ? "erf," : "", what, name_of(x.dtype)),
                         .in = {std::move(x)},
                         .samples = samples});
    };
    std::vector<Case<Gelu>> list;
    for (GeluKind kind : {GeluKind::tanh, GeluKind::erf}) {
      for (DType t : {DType::f32, DType::bf16}) {
        list.push_back(make(kind, "N=5", normal({5}).as(t), 1));
        list.push_back(make(kind, "R=7,C=33", normal({7, 33}, 0, 2).as(t), 7));
        list.push_back(make(kind, "R=6,C=31,strided", normal({6, 31}, 0, 2).as(t).padded(3), 3));
        list.push_back(make(kind, "B=2,T=3,S=5,C=64", uniform({2, 3, 5, 64}, -6, 6).as(t), 2));
      }
      list.push_back(make(kind, "empty", normal({0, 5}), 1));
      list.push_back(make(
          kind, "edges",
          values({17}, {0.0, -0.0, 1e-38, -1e-38, 3, -3, 5.5, -5.5, 9, -9, 10.06, -10.06, 15.9, -15.9, 40, -40, -3e38}),
          1));
      list.push_back(make(kind, "adversarial", adversarial({8, 40}), 8));
      Case<Gelu> big = make(kind, "R=32768,C=3072", normal({32768, 3072}), 1);
      big.bench = true;
      list.push_back(big);
      big = make(kind, "R=32768,C=3072", normal({32768, 3072}).as(DType::bf16), 1);
      big.bench = true;
      list.push_back(big);
    }
    return list;
  }
};

}  // namespace dr
