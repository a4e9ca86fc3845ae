#pragma once
// Rectified linear unit, element by element.
//
//   y = max(x, 0)
//
//   x f32|bf16 of any shape, packed but for the stride of axis 0    y like x, packed
// Order: a selection, which rounds nothing; a zero of either sign gives +0, a NaN stays the NaN it is.
// backward: dx = dy, or +0 where x <= 0.
// Deterministic, independent of the batch.

#include "kernels/core/op.h"

namespace dr {

struct Relu {
  static constexpr std::string_view name = "relu";

  struct In { View x; static constexpr auto names = fields("x"); };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x; static constexpr auto names = fields("x"); };

  Shapes infer(const In& in) const {
    CHECK(in.x.present(), "relu: x is absent");
    expect_float(in.x, "relu: x");
    CHECK(in.x.packed(1), "relu: x must be packed but for axis 0, got {}", to_string(in.x));
    return {{in.x.dtype, in.x.sizes}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  double gradient_k(const In&) const { return 1; }  // a copy: the bound covers the central differences' own rounding
  Cost cost(const In& in) const { return traffic(double(in.x.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {  // reads x and dy
    return {double(in.x.count()), 2 * double(in.x.bytes()), double(in.x.bytes())};
  }

  static std::vector<Case<Relu>> cases() {
    auto make = [](std::string_view what, Input x, int samples) {
      std::string name = format("{},{}", what, name_of(x.dtype));
      return Case<Relu>({}, {.name = std::move(name), .in = {std::move(x)}, .samples = samples});
    };
    std::vector<Case<Relu>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make("N=5", normal({5}).as(t), 1));
      list.push_back(make("R=7,C=33", normal({7, 33}).as(t), 7));
      list.push_back(make("R=6,C=31,strided", normal({6, 31}).as(t).padded(3), 3));
      list.push_back(make("N=2,H=3,W=5,C=64", normal({2, 3, 5, 64}).as(t), 2));
      list.push_back(make("adversarial", adversarial({6, 40}).as(t), 3));
      list.back().gradient = false;  // a difference quotient across 0 is no slope
    }
    list.push_back(make("R=5,C=1", normal({5, 1}), 5));
    list.push_back(make("R=3,C=20001", normal({3, 20001}), 3));  // several pieces of work
    list.push_back(make("empty", normal({0, 5}), 1));
    list.push_back(make("edges", values({10}, {0.0, -0.0, 1e-40, -1e-40, 1, -1, 3e38, -3e38, 1e-30, -1e-30}), 1));
    list.back().gradient = false;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make("N=16,H=128,W=256,C=64", normal({16, 128, 256, 64}).as(t), 1));
      list.back().bench = true;
    }
    return list;
  }
};

}  // namespace dr
