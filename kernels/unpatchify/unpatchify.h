#pragma once
// Puts videos, or images, together from their patches: the inverse of patchify.
//
//   y[b, i * patch_t + s, j * patch_h + a, k * patch_w + e, c] = x[b, (i, j, k), p],   p = (s, a, e, c), or
//   (c, s, a, e) for PatchOrder::channels_first
//
//   x (B,S,P) f32|bf16, any strides but a contiguous last axis; S = frames * rows * columns, P = patch_t * patch_h *
//     patch_w * C
//   y (B, frames * patch_t, rows * patch_h, columns * patch_w, C) like x, packed; where frames is 0, images
//     (B, rows * patch_h, columns * patch_w, C)
// A copy; backward is patchify. Throws if S or P do not fit.

#include "kernels/patchify/patch_layout.h"

namespace dr {

struct Unpatchify {
  static constexpr std::string_view name = "unpatchify";
  int rows = 1, columns = 1;  // of patches
  int patch_h = 2, patch_w = 2;
  int frames = 0, patch_t = 1;
  PatchOrder order = PatchOrder::channels_last;

  struct In { View x; static constexpr auto names = fields("x"); };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x; static constexpr auto names = fields("x"); };

  int64_t patch() const { return int64_t{patch_t} * patch_h * patch_w; }
  PatchLayout layout(const In& in) const {
    return {in.x.size(0), frames ? frames : 1, rows, columns, patch_t, patch_h, patch_w, in.x.size(2) / patch(), order};
  }
  Shapes infer(const In& in) const {
    CHECK(in.x.rank() == 3, "unpatchify: x must be (B,S,P), got {}", to_string(in.x));
    expect_float(in.x, "unpatchify: x");
    CHECK(frames >= 0 && rows > 0 && columns > 0 && (frames > 0 || patch_t == 1),
          "unpatchify: {} frames of {} x {} patches of {} frames are no video", frames, rows, columns, patch_t);
    CHECK(in.x.size(1) == int64_t{frames ? frames : 1} * rows * columns,
          "unpatchify: {} frames of {} x {} patches expected, got x {}", frames ? frames : 1, rows, columns,
          to_string(in.x));
    CHECK(patch_t > 0 && patch_h > 0 && patch_w > 0 && in.x.size(2) % patch() == 0,
          "unpatchify: tokens of {} are no patches of {} frames of {} x {}", in.x.size(2), patch_t, patch_h, patch_w);
    return {{in.x.dtype, frames ? layout(in).video() : layout(in).images()}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;
  double gradient_k(const In&) const { return 0; }  // a copy
  Cost cost(const In& in) const { return traffic(0, in, infer(in)); }
  Cost backward_cost(const In& in) const { return traffic(0, in, infer(in)); }

  static std::vector<Case<Unpatchify>> cases() {
    auto make = [](int64_t b, Unpatchify op, int64_t c, DType t, int64_t pad = 0) {
      const int64_t tokens = int64_t{op.frames ? op.frames : 1} * op.rows * op.columns;
      return Case<Unpatchify>(
          op, {.name = format("B={},S={}x{}x{},P={}x{}x{}x{}{},{}{}", b, op.frames, op.rows, op.columns, op.patch_t,
                              op.patch_h, op.patch_w, c, op.order == PatchOrder::channels_first ? ",CTHW" : "",
                              name_of(t), pad ? ",strided" : ""),
               .in = {normal({b, tokens, op.patch() * c}).as(t).padded(pad)},
               .samples = int(std::max<int64_t>(1, b))});
    };
    std::vector<Case<Unpatchify>> list;
    for (PatchOrder o : {PatchOrder::channels_last, PatchOrder::channels_first})
      for (DType t : {DType::f32, DType::bf16}) {
        list.push_back(make(3, {.rows = 2, .columns = 3, .frames = 2, .order = o}, 5, t));
        list.push_back(make(
            2, {.rows = 2, .columns = 5, .patch_h = 3, .patch_w = 1, .frames = 2, .patch_t = 2, .order = o}, 31, t, 3));
        list.push_back(make(2, {.rows = 3, .columns = 1, .patch_w = 3, .order = o}, 7, t));
        list.push_back(make(1, {.patch_h = 5, .patch_w = 7, .frames = 1, .patch_t = 3, .order = o}, 1, t));
      }
    list.push_back(make(2, {.rows = 3, .columns = 4, .patch_h = 1, .patch_w = 1}, 33, DType::f32));
    list.push_back(make(0, {.rows = 2, .columns = 2}, 3, DType::f32));
    list.push_back(Case<Unpatchify>({.rows = 2, .columns = 2},
                                    {.name = "adversarial", .in = {adversarial({2, 4, 28})}, .samples = 2}));
    for (PatchOrder o : {PatchOrder::channels_last, PatchOrder::channels_first}) {
      list.push_back(make(32, {.rows = 8, .columns = 16, .frames = 15, .order = o}, 32, DType::f32));
      list.back().bench = true;
    }
    return list;
  }
};

}  // namespace dr
