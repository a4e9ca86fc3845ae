#pragma once
// Floats of a model as the bytes of an image: -1 is 0, 1 is 255, and what lies beyond is clamped.
//
//   y[r,i] = round(clamp(127.5 x[r,i] + 127.5, 0, 255)), halves to the even byte
//
//   x (R, ...) f32|bf16, packed but for axis 0, which may be strided    y u8, packed
// Order: v = fma(x, 127.5, 127.5); v = 0 unless v > 0, so that NaN gives 0; v = 255 unless v < 255; then rounding to
//   the nearest integer, ties to even. Clamped before it is an integer, so that no conversion overflows.
// No gradient: y is an integer. Deterministic. Throws unless x is f32 or bf16 with at least one axis.
// Source: "colour" among the conventions; the inverse of image_to_float, exactly so on its outputs.

#include <limits>

#include "kernels/core/op.h"

namespace dr {

struct FloatToImage {
  static constexpr std::string_view name = "float_to_image";

  struct In { View x; static constexpr auto names = fields("x"); };
  struct Out { View y; static constexpr auto names = fields("y"); };

  Shapes infer(const In& in) const {
    CHECK(in.x.rank() >= 1, "float_to_image: x must have rows along axis 0, got {}", to_string(in.x));
    expect_float(in.x, "float_to_image: x");
    CHECK(in.x.packed(1), "float_to_image: x must be packed but for axis 0");
    return {{DType::u8, in.x.sizes}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  Cost cost(const In& in) const { return traffic(5.0 * double(in.x.count()), in, infer(in)); }

  static std::vector<Case<FloatToImage>> cases() {
    auto make = [](Sizes s, DType t, int samples, int64_t pad = 0, bool bench = false) {
      return Case<FloatToImage>({}, {.name = format("{},{}{}", to_string(s), name_of(t), pad ? ",strided" : ""),
                                     .in = {normal(s, 0, 0.7).as(t).padded(pad)},
                                     .samples = samples,
                                     .bench = bench});
    };
    std::vector<Case<FloatToImage>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make({5, 7, 33, 3}, t, 5));
      list.push_back(make({6, 31}, t, 3, 5));
      list.push_back(make({7, 1}, t, 7));
    }
    list.push_back(make({1, 20000}, DType::f32, 1));  // two pieces of parallel work
    list.push_back(make({0, 8}, DType::f32, 1));
    // Next to the half between 127 and 128, around the ends, infinities, NaN.
    const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
    list.push_back(Case<FloatToImage>(
        {}, {.name = "edges",
             .in = {values({3, 20}, {0.0, -0.0, -0x1p-24, 0x1p-24, 1e-40, 1 / 127.5, -1 / 127.5, 2 / 127.5, 1, -1,
                                     0.999, -0.999, 1.001, -1.001, 1e30, -1e30, inf, -inf, nan, 0.9960784})},
             .samples = 3}));
    list.push_back(Case<FloatToImage>({}, {.name = "adversarial", .in = {adversarial({3, 40})}, .samples = 3}));
    list.push_back(make({64, 128, 256, 3}, DType::f32, 1, 0, true));
    list.push_back(make({64, 128, 256, 3}, DType::bf16, 1, 0, true));
    return list;
  }
};

}  // namespace dr
