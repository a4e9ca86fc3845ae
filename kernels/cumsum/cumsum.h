#pragma once
// Running sum along an axis.
//
//   y[.., i, ..] = x[.., 0, ..] + ... + x[.., i, ..]        reverse: x[.., i, ..] + ... + x[.., N-1, ..]
//
//   x f32|bf16 of 1 to 6 axes: axes behind `axis` packed, the others with any strides, last axis contiguous
//   y like x, packed    axis counts from the end where it is negative.
// Order: strictly sequential, s = s + x from s = +0, in ascending i (reverse: in descending i), in f32; every s is
//   rounded once to y. Deterministic, independent of how many sums there are.
// backward: dx = the running sum of dy the other way round.

#include "kernels/core/op.h"

namespace dr {

struct CumSum {
  static constexpr std::string_view name = "cumsum";
  int axis = -1;
  bool reverse = false;

  struct In { View x; static constexpr auto names = fields("x"); };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x; static constexpr auto names = fields("x"); };

  int axis_of(int rank) const { return axis < 0 ? axis + rank : axis; }

  Shapes infer(const In& in) const {
    expect_float(in.x, "cumsum: x");
    const int a = axis_of(in.x.rank());
    CHECK(a >= 0 && a < in.x.rank(), "cumsum: axis {} is none of {}", axis, to_string(in.x));
    CHECK(in.x.packed(a + 1), "cumsum: the axes of {} behind axis {} must be packed", to_string(in.x), a);
    return {{in.x.dtype, in.x.sizes}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  double gradient_k(const In& in) const { return double(in.x.size(axis_of(in.x.rank()))); }  // one addition a term
  Cost cost(const In& in) const { return traffic(double(in.x.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const { return cost(in); }  // reads dy, writes dx

  static std::vector<Case<CumSum>> cases() {
    auto make = [](CumSum op, Sizes s, int samples, DType t = DType::f32, int64_t pad = 0) {
      return Case<CumSum>(op, {.name = format("{},axis={}{}{}{}", to_string(s), op.axis, op.reverse ? ",reverse" : "",
                                              t == DType::f32 ? "" : format(",{}", name_of(t)), pad ? ",strided" : ""),
                               .in = {normal(s, 0.2, 2).as(t).padded(pad)},
                               .samples = samples});
    };
    std::vector<Case<CumSum>> list;
    for (bool reverse : {false, true}) {
      list.push_back(make({-1, reverse}, {5, 33}, 5));
      list.push_back(make({1, reverse}, {3, 7, 31}, 3));
      list.push_back(make({1, reverse}, {2, 5, 3}, 2, DType::bf16));
      list.push_back(make({-1, reverse}, {2, 3, 31}, 2, DType::bf16, 3));
    }
    list.push_back(make({2}, {2, 3, 5, 1, 7}, 2));
    list.push_back(make({1}, {2, 33, 5}, 2, DType::f32, 0));
    list.push_back(make({0}, {31, 2}, 1));
    list.push_back(make({0}, {600}, 1));
    list.push_back(make({0}, {7, 150}, 1));
    list.push_back(make({1}, {11, 1}, 11));
    list.push_back(make({1}, {0, 5}, 1));
    list.push_back(make({1}, {2, 0, 5}, 1));
    list.push_back(Case<CumSum>({}, {.name = "adversarial", .in = {adversarial({4, 60})}, .samples = 4}));
    for (CumSum op : {CumSum{-1}, CumSum{1}})
      for (DType t : {DType::f32, DType::bf16}) {
        list.push_back(make(op, {64, 512, 768}, 1, t));
        list.back().bench = true;
      }
    return list;
  }
};

}  // namespace dr
