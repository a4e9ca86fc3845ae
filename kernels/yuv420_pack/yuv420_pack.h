#pragma once
// A colour frame as the policy's network takes it: YUV 4:2:0 in six channels at half size: four phases of luma, U, V.
//
//   y[..,0..3] = Y of the pixel at (row, column) (0,0), (1,0), (0,1), (1,1) of each 2 x 2 block: down, then right
//   y[..,4], y[..,5] = U and V of the block's mean colour
//
//   x (N,H,W,3) R, G, B, any strides; H and W even    y (N,H/2,W/2,6) like x, packed
// Limited-range BT.601 with the rounded coefficients of openpilot's camera simulator. White: Y = 237; grey: U = V = 128.
//   u8, integers to the bit; S is the sum of a channel over the block, A = (S + 1) >> 1 twice its mean:
//     Y = ((33 R + 65 G + 13 B + 64) >> 7) + 16        U = (56 A_B - 37 A_G - 19 A_R + 0x8080) >> 8
//                                                      V = (56 A_R - 47 A_G -  9 A_B + 0x8080) >> 8
//   f32|bf16 in [-1, 1] (byte / 127.5 - 1, on either side): the same map without rounding to bytes; linear, not clamped
//     Y = (33 R + 65 G + 13 B) / 128 + (16 / 127.5 - 17 / 128)
//     U = (112 (B - G) + 38 (G - R)) / 256 + 1 / 255   V = (112 (R - G) + 18 (G - B)) / 256 + 1 / 255   of the means
//   The two forms differ by at most 0.5 byte in Y and by 0.61 in U and V.
// Order of the float form: Y = fma(33/128, R, fma(65/128, G, fma(13/128, B, c))); S = (x00 + x01) + (x10 + x11);
//   U = fma(112/1024, S_B - S_G, fma(38/1024, S_G - S_R, c)), V = fma(112/1024, S_R - S_G, fma(18/1024, S_G - S_B, c)),
//   so grey gives 1 / 255 exactly. Constants c are rounded to fp32 once.
// backward (float form): the transposed matrix. Of the chroma first, for the block:
//   q_R = fma(112/1024, dV, -38/1024 dU), q_G = fma(-94/1024, dV, -74/1024 dU), q_B = fma(-18/1024, dV, 112/1024 dU);
//   then for each pixel dR = fma(33/128, dY, q_R), dG = fma(65/128, dY, q_G), dB = fma(13/128, dY, q_B).
// Deterministic, independent of N. Throws on odd sizes, other channel counts, other dtypes.
// Source: commaai/openpilot, tools/sim/rgb_to_nv12.cl (matrix, rounding) and selfdrive/modeld/transforms/loadyuv.cl
//   (order of the phases); ITU-R BT.601-7, section 2.5.

#include "kernels/core/op.h"

namespace dr {

struct Yuv420Pack {
  static constexpr std::string_view name = "yuv420_pack";

  struct In { View x; static constexpr auto names = fields("x"); };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x; static constexpr auto names = fields("x"); };

  Shapes infer(const In& in) const {
    const View& x = in.x;
    CHECK(x.rank() == 4 && x.size(3) == 3 && x.size(1) % 2 == 0 && x.size(2) % 2 == 0,
          "yuv420_pack: x must be (N,H,W,3) with even H and W, got {}", to_string(x));
    CHECK(x.dtype == DType::u8 || is_floating(x.dtype), "yuv420_pack: x must be u8, f32 or bf16, got {}", to_string(x));
    return {{x.dtype, {x.size(0), x.size(1) / 2, x.size(2) / 2, 6}}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // dR: the product with dU and two fma; coefficients are exact.
  double gradient_k(const In&) const { return 3; }
  Cost cost(const In& in) const { return traffic(47.0 / 12 * double(in.x.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {  // reads dy, writes dx
    const double size = double(size_of(in.x.dtype));
    return {33.0 / 12 * double(in.x.count()), double(infer(in)[0].sizes.count()) * size, double(in.x.bytes())};
  }

  static std::vector<Case<Yuv420Pack>> cases() {
    auto make = [](Sizes s, DType t, int samples, int64_t pad = 0, bool bench = false) {
      const Input x = t == DType::u8 ? integers(s, 0, 255).as(t) : uniform(s, -1, 1).as(t);
      return Case<Yuv420Pack>({}, {.name = format("{},{}{}", to_string(s), name_of(t), pad ? ",strided" : ""),
                                   .in = {x.padded(pad)},
                                   .samples = samples,
                                   .bench = bench});
    };
    std::vector<Case<Yuv420Pack>> list;
    for (DType t : {DType::f32, DType::bf16, DType::u8}) {
      list.push_back(make({2, 6, 10, 3}, t, 2));
      list.push_back(make({3, 2, 14, 3}, t, 3, 1));  // as the colours of RGBX
      list.push_back(make({1, 14, 62, 3}, t, 1));
    }
    list.push_back(make({5, 2, 2, 3}, DType::f32, 5));
    list.push_back(make({0, 4, 4, 3}, DType::f32, 1));
    list.push_back(make({2, 0, 4, 3}, DType::u8, 1));
    list.push_back(Case<Yuv420Pack>(  // ends of the range: black, white, pure colours
        {}, {.name = "corners,u8",
             .in = {values({4, 6, 10, 3}, {0, 0, 255, 255, 0, 255, 0, 255, 255, 255, 0}).as(DType::u8)},
             .samples = 4}));
    list.push_back(Case<Yuv420Pack>({}, {.name = "adversarial", .in = {adversarial({2, 6, 6, 3})}, .samples = 2}));
    for (DType t : {DType::f32, DType::bf16, DType::u8}) list.push_back(make({32, 128, 256, 3}, t, 1, 0, true));
    return list;
  }
};

}  // namespace dr
