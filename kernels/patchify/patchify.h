#pragma once
// Cuts images into patches, one token each.
//
//   y[n, (i, j), p] = x[n, i * patch_h + a, j * patch_w + b, c],   p = (a, b, c), or (c, a, b) for
//   PatchOrder::channels_first
//
//   x (N,H,W,C) f32|bf16, any strides but a contiguous last axis    y (N, H/patch_h * W/patch_w, patch_h * patch_w * C)
// like x A copy; backward is unpatchify. Throws unless the patch divides the image.
// Source: Dosovitskiy et al. 2021, arXiv:2010.11929, section 3.1.

#include "kernels/patchify/patch_layout.h"

namespace dr {

struct Patchify {
  static constexpr std::string_view name = "patchify";
  int patch_h = 2, patch_w = 2;
  PatchOrder order = PatchOrder::channels_last;

  struct In { View x; static constexpr auto names = fields("x"); };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x; static constexpr auto names = fields("x"); };

  PatchLayout layout(const In& in) const {
    return {in.x.size(0), in.x.size(1) / patch_h, in.x.size(2) / patch_w, patch_h, patch_w, in.x.size(3), order};
  }
  Shapes infer(const In& in) const {
    CHECK(in.x.rank() == 4, "patchify: x must be (N,H,W,C), got {}", to_string(in.x));
    expect_float(in.x, "patchify: x");
    CHECK(patch_h > 0 && patch_w > 0 && in.x.size(1) % patch_h == 0 && in.x.size(2) % patch_w == 0,
          "patchify: patches of {} x {} do not divide x {}", patch_h, patch_w, to_string(in.x));
    return {{in.x.dtype, layout(in).tokens()}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;
  double gradient_k(const In&) const { return 0; }  // a copy
  Cost cost(const In& in) const { return traffic(0, in, infer(in)); }
  Cost backward_cost(const In& in) const { return traffic(0, in, infer(in)); }

  static std::vector<Case<Patchify>> cases() {
    auto make = [](Sizes x, int h, int w, PatchOrder order, DType t, int64_t pad = 0) {
      return Case<Patchify>(
          {.patch_h = h, .patch_w = w, .order = order},
          {.name = format("{},P={}x{}{},{}{}", to_string(x), h, w, order == PatchOrder::channels_first ? ",CHW" : "",
                          name_of(t), pad ? ",strided" : ""),
           .in = {normal(x).as(t).padded(pad)},
           .samples = int(std::max<int64_t>(1, x[0]))});
    };
    std::vector<Case<Patchify>> list;
    for (PatchOrder o : {PatchOrder::channels_last, PatchOrder::channels_first})
      for (DType t : {DType::f32, DType::bf16}) {
        list.push_back(make({3, 4, 6, 5}, 2, 2, o, t));
        list.push_back(make({2, 6, 5, 33}, 3, 1, o, t, 2));
        list.push_back(make({1, 5, 7, 1}, 5, 7, o, t));
      }
    list.push_back(make({2, 3, 4, 31}, 1, 1, PatchOrder::channels_last, DType::f32));
    list.push_back(make({0, 4, 4, 3}, 2, 2, PatchOrder::channels_last, DType::f32));
    for (PatchOrder o : {PatchOrder::channels_last, PatchOrder::channels_first}) {
      list.push_back(make({512, 16, 32, 32}, 2, 2, o, DType::f32));
      list.back().bench = true, list.back().samples = 1;
    }
    return list;
  }
};

}  // namespace dr
