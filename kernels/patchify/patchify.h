#pragma once
// Cuts videos, or images, into patches, one token each.
//
//   y[b, (i, j, k), p] = x[b, i * patch_t + s, j * patch_h + a, k * patch_w + e, c],   p = (s, a, e, c), or
//   (c, s, a, e) for PatchOrder::channels_first
//
//   x (B,T,H,W,C) f32|bf16, or images (N,H,W,C) where patch_t is 1; any strides but a contiguous last axis
//   y (B, T/patch_t * H/patch_h * W/patch_w, patch_t * patch_h * patch_w * C) like x, packed
// A copy; backward is unpatchify. Throws unless the patch divides x.
// Source: Dosovitskiy et al. 2021, arXiv:2010.11929, section 3.1; over time as well: Arnab et al. 2021,
//   arXiv:2103.15691, section 3.2.

#include "kernels/patchify/patch_layout.h"

namespace dr {

struct Patchify {
  static constexpr std::string_view name = "patchify";
  int patch_h = 2, patch_w = 2, patch_t = 1;
  PatchOrder order = PatchOrder::channels_last;

  struct In { View x; static constexpr auto names = fields("x"); };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x; static constexpr auto names = fields("x"); };

  PatchLayout layout(const In& in) const {
    const View x = as_video(in.x);
    return {x.size(0), x.size(1) / patch_t, x.size(2) / patch_h, x.size(3) / patch_w, patch_t, patch_h, patch_w,
            x.size(4), order};
  }
  Shapes infer(const In& in) const {
    CHECK(in.x.rank() == 4 || in.x.rank() == 5, "patchify: x must be (B,T,H,W,C) or (N,H,W,C), got {}",
          to_string(in.x));
    expect_float(in.x, "patchify: x");
    const Sizes x = as_video(in.x).sizes;
    CHECK(patch_t > 0 && patch_h > 0 && patch_w > 0, "patchify: patches of {} frames of {} x {} are empty", patch_t,
          patch_h, patch_w);
    CHECK(x[1] % patch_t == 0 && x[2] % patch_h == 0 && x[3] % patch_w == 0,
          "patchify: patches of {} frames of {} x {} do not divide x {}", patch_t, patch_h, patch_w, to_string(in.x));
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
    auto make = [](Sizes x, int t, int h, int w, PatchOrder order, DType type, int64_t pad = 0) {
      return Case<Patchify>(
          {.patch_h = h, .patch_w = w, .patch_t = t, .order = order},
          {.name = format("{},P={}x{}x{}{},{}{}", to_string(x), t, h, w,
                          order == PatchOrder::channels_first ? ",CTHW" : "", name_of(type), pad ? ",strided" : ""),
           .in = {normal(x).as(type).padded(pad)},
           .samples = int(std::max<int64_t>(1, x[0]))});
    };
    std::vector<Case<Patchify>> list;
    for (PatchOrder o : {PatchOrder::channels_last, PatchOrder::channels_first})
      for (DType t : {DType::f32, DType::bf16}) {
        list.push_back(make({3, 2, 4, 6, 5}, 1, 2, 2, o, t));
        list.push_back(make({2, 4, 6, 5, 31}, 2, 3, 1, o, t, 2));
        list.push_back(make({3, 4, 6, 5}, 1, 2, 3, o, t));
        list.push_back(make({1, 3, 5, 7, 1}, 3, 5, 7, o, t));
      }
    list.push_back(make({2, 3, 4, 33}, 1, 1, 1, PatchOrder::channels_last, DType::f32));
    list.push_back(make({0, 2, 4, 4, 3}, 1, 2, 2, PatchOrder::channels_last, DType::f32));
    list.push_back(Case<Patchify>({}, {.name = "adversarial", .in = {adversarial({2, 4, 4, 7})}, .samples = 2}));
    for (PatchOrder o : {PatchOrder::channels_last, PatchOrder::channels_first}) {
      list.push_back(make({32, 15, 16, 32, 32}, 1, 2, 2, o, DType::f32));
      list.back().bench = true;
    }
    return list;
  }
};

}  // namespace dr
