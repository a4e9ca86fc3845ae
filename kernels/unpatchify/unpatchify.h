#pragma once
// Puts images together from their patches: the inverse of patchify.
//
//   y[n, i * patch_h + a, j * patch_w + b, c] = x[n, (i, j), p],   p = (a, b, c), or (c, a, b) for
//   PatchOrder::channels_first
//
//   x (N,S,P) f32|bf16, any strides but a contiguous last axis, S = rows * columns, P = patch_h * patch_w * C
//   y (N, rows * patch_h, columns * patch_w, C) like x, packed
// A copy; backward is patchify.

#include "kernels/patchify/patch_layout.h"

namespace dr {

struct Unpatchify {
  static constexpr std::string_view name = "unpatchify";
  int rows = 1, columns = 1;  // of patches
  int patch_h = 2, patch_w = 2;
  PatchOrder order = PatchOrder::channels_last;

  struct In { View x; static constexpr auto names = fields("x"); };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x; static constexpr auto names = fields("x"); };

  PatchLayout layout(const In& in) const {
    return {in.x.size(0), rows, columns, patch_h, patch_w, in.x.size(2) / (patch_h * patch_w), order};
  }
  Shapes infer(const In& in) const {
    CHECK(in.x.rank() == 3, "unpatchify: x must be (N,S,P), got {}", to_string(in.x));
    expect_float(in.x, "unpatchify: x");
    CHECK(rows > 0 && columns > 0 && in.x.size(1) == int64_t{rows} * columns,
          "unpatchify: {} x {} patches expected, got x {}", rows, columns, to_string(in.x));
    CHECK(patch_h > 0 && patch_w > 0 && in.x.size(2) % (int64_t{patch_h} * patch_w) == 0,
          "unpatchify: tokens of {} are no patches of {} x {}", in.x.size(2), patch_h, patch_w);
    return {{in.x.dtype, layout(in).image()}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;
  double gradient_k(const In&) const { return 0; }  // a copy
  Cost cost(const In& in) const { return traffic(0, in, infer(in)); }
  Cost backward_cost(const In& in) const { return traffic(0, in, infer(in)); }

  static std::vector<Case<Unpatchify>> cases() {
    auto make = [](int64_t n, int rows, int columns, int h, int w, int64_t c, PatchOrder order, DType t,
                   int64_t pad = 0) {
      return Case<Unpatchify>(
          {.rows = rows, .columns = columns, .patch_h = h, .patch_w = w, .order = order},
          {.name = format("N={},S={}x{},P={}x{}x{}{},{}{}", n, rows, columns, h, w, c,
                          order == PatchOrder::channels_first ? ",CHW" : "", name_of(t), pad ? ",strided" : ""),
           .in = {normal({n, int64_t{rows} * columns, h * w * c}).as(t).padded(pad)},
           .samples = int(std::max<int64_t>(1, n))});
    };
    std::vector<Case<Unpatchify>> list;
    for (PatchOrder o : {PatchOrder::channels_last, PatchOrder::channels_first})
      for (DType t : {DType::f32, DType::bf16}) {
        list.push_back(make(3, 2, 3, 2, 2, 5, o, t));
        list.push_back(make(2, 2, 5, 3, 1, 33, o, t, 3));
        list.push_back(make(1, 1, 1, 5, 7, 1, o, t));
      }
    list.push_back(make(2, 3, 4, 1, 1, 31, PatchOrder::channels_last, DType::f32));
    list.push_back(make(0, 2, 2, 2, 2, 3, PatchOrder::channels_last, DType::f32));
    list.push_back(make(512, 8, 16, 2, 2, 32, PatchOrder::channels_last, DType::f32));
    list.back().bench = true, list.back().samples = 1;
    return list;
  }
};

}  // namespace dr
