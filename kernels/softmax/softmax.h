#pragma once
// Softmax along the last axis.
//
//   y[r,c] = exp(x[r,c] - max[r]) / sum_c exp(x[r,c] - max[r]),   max[r] = max_c x[r,c]
//
//   x (R,C) f32|bf16, rows may be strided, C > 0    y like x, packed
// Order: e = exp(x - max); canonical row sum of e; y = e / sum. An infinity at the top, or a NaN, makes its row NaN.
// backward: dx = y * (dy - canonical row sum of y * dy, a chain of fma in each lane). In f32 from the saved y.
// Deterministic; rows do not meet. A row of one element is 1.

#include "kernels/core/op.h"

namespace dr {

struct Softmax {
  static constexpr std::string_view name = "softmax";

  struct In { View x; static constexpr auto names = fields("x"); };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x; static constexpr auto names = fields("x"); };

  Shapes infer(const In& in) const {
    CHECK(in.x.rank() == 2 && in.x.size(1) > 0, "softmax: x must be (R,C) with C > 0, got {}", to_string(in.x));
    expect_float(in.x, "softmax: x");
    return {{in.x.dtype, in.x.sizes}};
  }
  size_t scratch_bytes(const In& in, int threads) const { return size_t(threads) * row_bytes(in); }
  // A row of f32 for each thread, whole cache lines.
  static size_t row_bytes(const In& in) { return (size_t(in.x.size(1)) * sizeof(float) + 63) / 64 * 64; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // y is off by a row sum's depth and 4; the inner sum by two depths; both meet in the difference, whose terms the
  // central differences do not see apart: it is up to twice as large as what is left. bf16 adds the saved y's rounding,
  // twice.
  double gradient_k(const In& in) const {
    const double depth = double((in.x.size(1) + 31) / 32) + 12;
    return 8 * depth + (in.x.dtype == DType::bf16 ? 8.0 * 65536 : 0);
  }
  Cost cost(const In& in) const { return traffic(5.0 * double(in.x.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {  // reads y and dy
    const double bytes = double(in.x.bytes());
    return {4.0 * double(in.x.count()), 2 * bytes, bytes};
  }

  static std::vector<Case<Softmax>> cases() {
    auto make = [](int64_t r, int64_t c, DType t, int64_t pad = 0) {
      return Case<Softmax>({}, {.name = format("R={},C={},{}{}", r, c, name_of(t), pad ? ",strided" : ""),
                                .in = {normal({r, c}, 0, 2).as(t).padded(pad)},
                                .samples = int(r)});
    };
    std::vector<Case<Softmax>> list;
    for (DType t : {DType::f32, DType::bf16})
      for (int64_t c : {5, 7, 31, 33, 64}) list.push_back(make(3, c, t, c % 2 ? 3 : 0));
    list.push_back(make(1, 5000, DType::f32));
    list.push_back(make(4, 1, DType::f32));
    list.back().gradient = false;  // always 1
    list.push_back(make(0, 5, DType::f32));
    list.back().samples = 1;
    list.push_back(
        Case<Softmax>({}, {.name = "large", .in = {uniform({4, 40}, -3e4, 3e4)}, .samples = 4, .gradient = false}));
    list.push_back(
        Case<Softmax>({}, {.name = "adversarial", .in = {adversarial({8, 40})}, .samples = 8, .gradient = false}));
    list.push_back(make(32768, 1024, DType::f32));
    list.back().bench = true, list.back().samples = 1;
    return list;
  }
};

}  // namespace dr
