#pragma once
// Symmetric logarithm and its inverse, elementwise: numbers of any magnitude and sign on a scale that networks can hit.
//
//   symlog: y = sign(x) log(1 + |x|)        symexp: y = sign(x) (exp(|x|) - 1)
//
//   x f32|bf16, any shape, packed but for axis 0, which may be strided    y like x, packed
// Order: log1p and expm1 of |x|, correctly rounded, with the sign of x, a zero's too. symexp is infinite from 88.73 on.
// backward: symlog: dx = dy / (1 + |x|);   symexp: dx = dy exp(|x|).
// A NaN stays a NaN.
// Source: Hafner et al. 2023, arXiv:2301.04104.

#include "kernels/core/op.h"

namespace dr {

enum class SymLogKind : uint8_t { symlog, symexp };

struct SymLog {
  static constexpr std::string_view name = "symlog";
  SymLogKind kind = SymLogKind::symlog;

  struct In { View x; static constexpr auto names = fields("x"); };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x; static constexpr auto names = fields("x"); };

  Shapes infer(const In& in) const {
    CHECK(in.x.present(), "symlog: x is absent");
    expect_float(in.x, "symlog: x");
    CHECK(in.x.packed(1), "symlog: x must be packed but for axis 0, got {}", to_string(in.x));
    return {{in.x.dtype, in.x.sizes}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // A sum and a quotient; or an exponential and a product.
  double gradient_k(const In&) const { return 3; }
  Cost cost(const In& in) const { return traffic(2.0 * double(in.x.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {  // reads x and dy
    return {3.0 * double(in.x.count()), 2 * double(in.x.bytes()), double(in.x.bytes())};
  }

  static std::vector<Case<SymLog>> cases() {
    std::vector<Case<SymLog>> list;
    for (SymLogKind kind : {SymLogKind::symlog, SymLogKind::symexp}) {
      auto make = [&](std::string_view what, Input x, int samples) {
        return Case<SymLog>({kind}, {.name = format("{},{},{}", kind == SymLogKind::symlog ? "symlog" : "symexp", what,
                                                    name_of(x.dtype)),
                                     .in = {std::move(x)},
                                     .samples = samples});
      };
      for (DType t : {DType::f32, DType::bf16}) {
        list.push_back(make("N=5", normal({5}, 0, 4).as(t), 1));
        list.push_back(make("R=7,C=33", normal({7, 33}, 0, 4).as(t), 7));
        list.push_back(make("R=6,C=31,strided", normal({6, 31}, 0, 4).as(t).padded(3), 3));
      }
      list.push_back(make("R=5,C=1", normal({5, 1}, 0, 4), 5));
      list.push_back(make("empty", normal({0, 5}), 1));
      // The slope is not smooth at 0, and the steps at 1e38 overflow.
      Case<SymLog> edges = make("edges", values({12}, {0.0, -0.0, 1e-40, -1e-38, 1e-7, 17, -17, 88.72, -88.73, 89, 1e38,
                                                       -3.4e38}), 1);
      edges.gradient = false;
      list.push_back(edges);
      edges = make("adversarial", adversarial({6, 40}), 3);
      edges.gradient = false;
      list.push_back(edges);
      Case<SymLog> big = make("R=4096,C=1024", normal({4096, 1024}, 0, 4), 1);
      big.bench = true;
      list.push_back(big);
    }
    return list;
  }
};

}  // namespace dr
