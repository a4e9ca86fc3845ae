#pragma once
// Elementwise sum.
//
//   z = a + b
//
//   a, b f32|bf16, of one dtype and one shape (N,...) of 1 to 6 axes; z like a; any strides, last axis contiguous
// z may be the same memory as a or b with the same strides (accumulation in place), and overlaps them in no other way.
// Order: elementwise; one f32 addition, rounded once more for bf16. Deterministic, independent of N.
// backward: da = dz, db = dz.
// Throws if the shapes or dtypes differ.
// The tape adds gradients with it where a tensor is used twice, and leaves of parameter gradients.

#include "kernels/core/op.h"

namespace dr {

struct Add {
  static constexpr std::string_view name = "add";

  struct In { View a, b; static constexpr auto names = fields("a", "b"); };
  struct Out { View z; static constexpr auto names = fields("z"); };
  struct OutGrad { View z; static constexpr auto names = fields("z"); };
  struct Grad { View a, b; static constexpr auto names = fields("a", "b"); };

  Shapes infer(const In& in) const {
    CHECK(in.a.rank() > 0, "add: a is absent");
    expect_float(in.a, "add: a");
    expect_sizes(in.b, in.a.sizes, "add: b");
    CHECK(in.b.dtype == in.a.dtype, "add: a is {}, b is {}; one dtype is needed", to_string(in.a), to_string(in.b));
    return {{in.a.dtype, in.a.sizes}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  double gradient_k(const In&) const { return 1; }  // a copy: the bound covers the central differences' own rounding
  Cost cost(const In& in) const { return traffic(double(in.a.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const { return {0, double(in.a.bytes()), 2.0 * double(in.a.bytes())}; }

  static std::vector<Case<Add>> cases() {
    auto make = [](Sizes s, DType t, int64_t pad = 0, bool bench = false) {
      return Case<Add>({}, {.name = format("{},{}{}", to_string(s), name_of(t), pad ? ",strided" : ""),
                            .in = {normal(s, 0.5, 2).as(t).padded(pad), normal(s, 0, 3).as(t).padded(2 * pad)},
                            .samples = bench || s[0] == 0 ? 1 : int(s[0]),
                            .bench = bench});
    };
    std::vector<Case<Add>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make({5, 33}, t));
      list.push_back(make({3, 7, 31}, t, 3));
      list.push_back(make({2, 1, 3, 1, 2, 5}, t, 1));
      list.push_back(make({7}, t));
      list.push_back(make({0, 4}, t));
    }
    list.push_back(make({3, 20001}, DType::f32));  // several pieces of work, none a whole number of vectors
    list.push_back(
        Case<Add>({}, {.name = "adversarial", .in = {adversarial({4, 40}), adversarial({4, 40})}, .samples = 4}));
    list.push_back(make({64, 196608}, DType::f32, 0, true));
    list.push_back(make({64, 196608}, DType::bf16, 0, true));
    return list;
  }
};

}  // namespace dr
