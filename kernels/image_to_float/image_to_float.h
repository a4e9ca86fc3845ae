#pragma once
// Bytes of an image as the floats that models take: 0 is -1, 255 is 1.
//
//   y[r,i] = x[r,i] / 127.5 - 1
//
//   x (R, ...) u8, packed but for axis 0, which may be strided    y f32 or bf16, a setting, packed
// Order: (2x - 255) / 255 in fp32, of which only the division rounds: the exact value rounded once, and 255 - x gives
//   -y. float_to_image undoes it, through bf16 too, where the step of 1/127.5 is still twice the spacing of values.
// No gradient: x is an integer. Deterministic. Throws unless x is u8 with at least one axis.
// Source: "colour" among the conventions; x / 127.5 - 1 is what diffusion autoencoders take, arXiv:2112.10752.

#include "kernels/core/op.h"

namespace dr {

struct ImageToFloat {
  static constexpr std::string_view name = "image_to_float";
  DType dtype = DType::f32;

  struct In { View x; static constexpr auto names = fields("x"); };
  struct Out { View y; static constexpr auto names = fields("y"); };

  Shapes infer(const In& in) const {
    CHECK(dtype == DType::f32 || dtype == DType::bf16, "image_to_float: dtype must be f32 or bf16, got {}",
          name_of(dtype));
    CHECK(in.x.rank() >= 1 && in.x.dtype == DType::u8, "image_to_float: x must be u8 with rows along axis 0, got {}",
          to_string(in.x));
    CHECK(in.x.packed(1), "image_to_float: x must be packed but for axis 0");
    return {{dtype, in.x.sizes}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  Cost cost(const In& in) const { return traffic(3.0 * double(in.x.count()), in, infer(in)); }

  static std::vector<Case<ImageToFloat>> cases() {
    auto make = [](Sizes s, DType t, int samples, int64_t pad = 0, bool bench = false) {
      return Case<ImageToFloat>({t}, {.name = format("{},{}{}", to_string(s), name_of(t), pad ? ",strided" : ""),
                                      .in = {integers(s, 0, 255).as(DType::u8).padded(pad)},
                                      .samples = samples,
                                      .bench = bench});
    };
    std::vector<Case<ImageToFloat>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make({5, 7, 33, 3}, t, 5));
      list.push_back(make({6, 31}, t, 3, 5));
      list.push_back(make({7, 1}, t, 7));
    }
    list.push_back(make({1, 20000}, DType::f32, 1));  // two pieces of parallel work
    list.push_back(make({0, 8}, DType::f32, 1));
    list.push_back(make({64, 128, 256, 3}, DType::f32, 1, 0, true));
    list.push_back(make({64, 128, 256, 3}, DType::bf16, 1, 0, true));
    return list;
  }
};

}  // namespace dr
