#pragma once
// Cumulative sum along one axis.
//
//   y[.., i, ..] = sum over j <= i of x[.., j, ..]
//
//   x f32|bf16 of any shape and strides, packed from the axis on    y like x, packed
// Order: a chain of f32 additions from x[0] in ascending i, each element rounded to y as it is passed.
// backward: dx[i] = sum over j >= i of dy[j]: a chain from dy[n-1] in descending j.
// Deterministic (PyTorch's CUDA backward of cumsum is not); the axis may not be the samples' axis 0 of a batch that is
// split.

#include "kernels/core/op.h"

namespace dr {

struct CumSum {
  static constexpr std::string_view name = "cumsum";
  int axis = -1;  // from the end where negative

  struct In { View x; static constexpr auto names = fields("x"); };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x; static constexpr auto names = fields("x"); };

  int axis_of(const View& x) const { return axis < 0 ? axis + x.rank() : axis; }
  Shapes infer(const In& in) const {
    CHECK(in.x.present(), "cumsum: x is absent");
    expect_float(in.x, "cumsum: x");
    CHECK(axis_of(in.x) >= 0 && axis_of(in.x) < in.x.rank(), "cumsum: axis {} of {}", axis, to_string(in.x));
    CHECK(in.x.packed(), "cumsum: x must be packed, got {} with other strides", to_string(in.x));
    return {{in.x.dtype, in.x.sizes}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  double gradient_k(const In& in) const { return double(in.x.size(axis_of(in.x))); }  // the length of a chain
  Cost cost(const In& in) const { return traffic(double(in.x.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {
    const double bytes = double(in.x.bytes());
    return {double(in.x.count()), bytes, bytes};
  }

  static std::vector<Case<CumSum>> cases() {
    auto make = [](Sizes sizes, int axis, DType t, int samples) {
      return Case<CumSum>({.axis = axis}, {.name = format("{},axis={},{}", to_string(sizes), axis, name_of(t)),
                                           .in = {normal(sizes).as(t)}, .samples = samples});
    };
    std::vector<Case<CumSum>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make({3, 33}, -1, t, 3));
      list.push_back(make({2, 7, 31}, 1, t, 2));
      list.push_back(make({5, 4, 1, 5}, 1, t, 5));
    }
    list.push_back(make({7, 5}, 0, DType::f32, 1));
    list.push_back(make({1, 1000}, 1, DType::f32, 1));
    list.push_back(make({2, 0, 5}, 1, DType::f32, 1));
    list.push_back(make({0, 5}, 1, DType::f32, 1));
    list.push_back(Case<CumSum>({}, {.name = "adversarial", .in = {adversarial({8, 40})}, .samples = 8}));
    list.push_back(make({64, 512, 512}, 1, DType::f32, 1));
    list.back().bench = true;
    return list;
  }
};

}  // namespace dr
