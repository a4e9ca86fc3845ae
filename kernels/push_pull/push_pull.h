#pragma once
// Holes of an image filled smoothly from what surrounds them, over a pyramid: averages of valid pixels are pulled up
// from fine to coarse, and pushed back down to where nothing finer is valid.
//
//   Level 0 is the image with its weights, clamped to [0, 1] (NaN to 0). Level k + 1 has half the size, rounded up,
//   until it is 1 x 1 (there is always a level 1).
//   pull:  X[k+1] = (sum w x) / W over the 2 x 2 children that exist, W = sum w; its weight is min(W, 1); 0 where W = 0
//   push:  Y[k] = w X[k] + (1 - w) up(Y[k+1]);  Y of the last level is X;  filled = Y[0]
//   up: bilinear to twice the size, half-pixel centres: 3/4 of the pixel's parent, 1/4 of the parent's neighbour on the
//   pixel's side, along either axis; the parent alone where that neighbour does not exist
//
//   image (N,H,W,C) f32|bf16, any strides    filled like image, packed
//   weight (N,H,W) u8 (0: hole, else valid) or f32, any strides
// Where the weight is 1, filled is image bit for bit; where it is 0, image is not read. A constant image stays
// constant, holes and all. An image without any valid pixel is filled with 0.
// Order, in fp32: children by rows, those of weight 0 skipped: W += w, X = fma(w / W, x - X, X) from 0. up:
//   fma(1/4, b - a, a) down the column, then along the row, a the parent. Y is X where w = 1, up where w = 0, else
//   fma(w, X - up, up).
// backward, to image alone, of which filled is a linear function: G[0] = dfilled; G[k+1] = up^T((1 - w) G[k]), a chain
//   over fine rows, ascending, of 1, 3/4 or 1/4 times the chain along the row, which skips weights of 1. D of the last
//   level is its G; D[k] = fma(w, G[k], (w / W) D[k+1] of the parent), 0 where w = 0; dimage = D[0]. weight has no
//   gradient.
// Deterministic, independent of N. Throws unless H and W are at least 1 and shapes and dtypes are as above.
// Source: Gortler et al. 1996, "The Lumigraph" (pull and push, with a box of 2 x 2 for the filter down); Kraus 2009,
//   "The Pull-Push Algorithm Revisited" (bilinear synthesis).

#include <algorithm>

#include "kernels/core/carver.h"
#include "kernels/core/op.h"

namespace dr {

struct PushPull {
  static constexpr std::string_view name = "push_pull";

  struct In { View image, weight; static constexpr auto names = fields("image", "weight"); };
  struct Out { View filled; static constexpr auto names = fields("filled"); };
  struct OutGrad { View filled; static constexpr auto names = fields("filled"); };
  struct Grad { View image; static constexpr auto names = fields("image"); };

  // Sizes of the levels, and how many pixels of one image come before each.
  struct Levels {
    static constexpr int kMax = 34;
    int count = 1;
    int64_t h[kMax], w[kMax], before[kMax + 1];
    Levels(int64_t rows, int64_t cols) {
      h[0] = rows, w[0] = cols, before[0] = 0, before[1] = rows * cols;
      do {
        h[count] = (h[count - 1] + 1) / 2, w[count] = (w[count - 1] + 1) / 2;
        before[count + 1] = before[count] + h[count] * w[count];
        count++;
      } while (h[count - 1] > 1 || w[count - 1] > 1);
    }
    int64_t pixels() const { return before[count]; }
    int64_t coarse_pixels() const { return before[count] - before[1]; }
  };

  Shapes infer(const In& in) const {
    const View &x = in.image, &m = in.weight;
    CHECK(x.rank() == 4 && x.size(1) >= 1 && x.size(2) >= 1, "push_pull: image must be (N,H,W,C) with H, W > 0, got {}",
          to_string(x));
    expect_float(x, "push_pull: image");
    expect_sizes(m, {x.size(0), x.size(1), x.size(2)}, "push_pull: weight");
    CHECK(m.dtype == DType::u8 || m.dtype == DType::f32 || m.dtype == DType::f64,
          "push_pull: weight must be u8 or f32, got {}", to_string(m));
    return {{x.dtype, x.sizes}};
  }
  // Weights of all levels, and pixels of all but the first.
  size_t scratch_bytes(const In& in, int) const {
    const Levels levels(in.image.size(1), in.image.size(2));
    const int64_t n = in.image.size(0);
    return size_t(whole_lines(n * levels.pixels()) + n * levels.coarse_pixels() * in.image.size(3)) * sizeof(float);
  }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // All coefficients are positive. On its way a term meets, in each level: w and 1 - w, of which w has three roundings
  // a level; a chain of four along the row and one of four down; the ratio w / W with its sum; the fma.
  double gradient_k(const In& in) const {
    const double levels = Levels(in.image.size(1), in.image.size(2)).count;
    return levels * (2 + 8 + 5 + 1) + 6 * levels * levels;
  }
  Cost cost(const In& in) const { return traffic(9.0 * double(in.image.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const { return backward_traffic(40.0 * double(in.image.count()), in, infer(in)); }

  static std::vector<Case<PushPull>> cases() {
    auto make = [](Sizes s, DType t, Input weight, std::string_view what, int64_t pad = 0, bool bench = false) {
      weight.sizes = {s[0], s[1], s[2]};
      return Case<PushPull>({}, {.name = format("{},{},{}{}", to_string(s), name_of(t), what, pad ? ",strided" : ""),
                                 .in = {normal(s, 0.2, 1).as(t).padded(pad), weight.padded(pad)},
                                 .samples = bench ? 1 : int(std::max<int64_t>(1, s[0])),
                                 .bench = bench});
    };
    const Input half = integers({}, 0, 1).as(DType::u8), some_holes = integers({}, 0, 9).as(DType::u8),
                sparse = values({}, {0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0}).as(DType::u8),
                soft = uniform({}, -0.2, 1.2);
    std::vector<Case<PushPull>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make({2, 5, 7, 3}, t, half, "half"));
      list.push_back(make({2, 8, 16, 5}, t, sparse, "sparse"));
      list.push_back(make({3, 7, 5, 33}, t, soft, "soft", 2));
    }
    list.push_back(make({1, 31, 33, 1}, DType::f32, sparse, "sparse"));
    list.push_back(make({1, 33, 31, 2}, DType::f32, some_holes, "some holes"));
    list.push_back(make({2, 1, 7, 3}, DType::f32, half, "half"));
    list.push_back(make({2, 1, 1, 31}, DType::f32, values({}, {1, 0.5}), "one pixel"));
    list.push_back(make({2, 6, 6, 2}, DType::f32, values({}, {1}).as(DType::u8), "no hole"));
    list.push_back(make({2, 6, 6, 2}, DType::f32, values({}, {0}).as(DType::u8), "all hole"));
    list.back().gradient = false;  // zero
    list.push_back(make({0, 4, 4, 3}, DType::f32, half, "half"));
    list.push_back(Case<PushPull>({}, {.name = "adversarial",
                                       .in = {adversarial({2, 9, 6, 3}), integers({2, 9, 6}, 0, 1).as(DType::u8)},
                                       .samples = 2}));
    for (DType t : {DType::f32, DType::bf16})
      list.push_back(make({8, 128, 256, 3}, t, some_holes, "some holes", 0, true));
    return list;
  }
};

}  // namespace dr
