#pragma once
// Rotary position embedding. Pairs are element i of the first half of a head and element i of its second half ("half
// split", as in GPT-NeoX and Llama), never neighbours.
//
//   y[..,i]   = x[..,i] * cos[b,t,i] - x[..,h+i] * sin[b,t,i]
//   y[..,h+i] = x[..,h+i] * cos[b,t,i] + x[..,i] * sin[b,t,i]      h = D/2, i < h
//
//   x (B,L,H,D) f32|bf16, any strides on the first three axes (those of attention)    y like x, packed
//   cos, sin (B,L,D/2) f32: the tables of rotary_table, any strides on the first two axes
// Order: y[i] = fma(x[i], cos, -(x[h+i] * sin)), y[h+i] = fma(x[h+i], cos, x[i] * sin).
// backward: the same with -sin, from dy to dx. The tables get no gradient.
// Deterministic, independent of B. Throws if D is odd or the tables do not fit.
// Source: Su et al. 2021, arXiv:2104.09864, section 3.2.2.

#include "kernels/core/op.h"

namespace dr {

// What ops that rotate heads share of their contract.
inline void expect_rotary_tables(const View& x, const View& cos, const View& sin, std::string_view op) {
  CHECK(x.size(3) % 2 == 0, "{}: the head width of {} is odd", op, to_string(x));
  const Sizes table{x.size(0), x.size(1), x.size(3) / 2};
  expect_f32(cos, table, format("{}: cos", op));
  expect_f32(sin, table, format("{}: sin", op));
}

struct Rotary {
  static constexpr std::string_view name = "rotary";

  struct In { View x, cos, sin; static constexpr auto names = fields("x", "cos", "sin"); };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x; static constexpr auto names = fields("x"); };

  Shapes infer(const In& in) const {
    CHECK(in.x.rank() == 4, "rotary: x must be (B,L,H,D), got {}", to_string(in.x));
    expect_float(in.x, "rotary: x");
    expect_rotary_tables(in.x, in.cos, in.sin, name);
    return {{in.x.dtype, in.x.sizes}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  double gradient_k(const In&) const { return 2; }  // of two products one rounds alone; then the sum
  Cost cost(const In& in) const { return traffic(3.0 * double(in.x.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const { return cost(in); }

  static std::vector<Case<Rotary>> cases() {
    auto make = [](Sizes x, DType t, int64_t pad = 0, bool bench = false) {
      const Sizes table{x[0], x[1], x[3] / 2};
      return Case<Rotary>({}, {.name = format("B={},L={},H={},D={},{}{}", x[0], x[1], x[2], x[3], name_of(t),
                                              pad ? ",strided" : ""),
                               .in = {normal(x).as(t).padded(pad), uniform(table, -1, 1).padded(pad),
                                      uniform(table, -1, 1).padded(pad)},
                               .samples = int(std::max<int64_t>(x[0], 1)),
                               .bench = bench});
    };
    std::vector<Case<Rotary>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make({2, 5, 3, 64}, t));
      list.push_back(make({3, 7, 1, 66}, t, 3));
      list.push_back(make({1, 31, 2, 10}, t));
    }
    list.push_back(make({5, 1, 1, 2}, DType::f32));
    list.push_back(make({0, 5, 2, 4}, DType::f32));
    list.push_back(Case<Rotary>({}, {.name = "adversarial",
                                     .in = {adversarial({2, 6, 2, 40}), uniform({2, 6, 20}, -1, 1),
                                            uniform({2, 6, 20}, -1, 1)},
                                     .samples = 2}));
    list.push_back(make({16, 1920, 12, 64}, DType::f32, 0, true));
    list.push_back(make({16, 1920, 12, 64}, DType::bf16, 0, true));
    return list;
  }
};

}  // namespace dr
