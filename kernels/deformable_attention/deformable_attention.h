#pragma once
// Attention that looks at a few points of every level of a feature pyramid (multi-scale deformable attention).
//
//   y[n,q,h,:] = sum over l, p of weights[n,q,h,l,p] * sample of level l's map value[n,:,h,:] at locations[n,q,h,l,p]
//
//   value (N,S,heads,D) f32|bf16, any strides but the last axis: the maps of all levels one after the other, each
//     row-major, S = sum_l H_l W_l      levels: a setting, H_l and W_l of each of the L levels
//   locations (N,Q,heads,L,P,2) f32: (x, y), 0 .. 1 is the extent of every level's map, so that a level's pixel centres
//     lie at (i + 1/2) / W_l; packed but for axis 0      weights (N,Q,heads,L,P) f32, packed but for axis 0
//   y (N,Q,heads*D) like value, packed
// A sample is grid_sample's (kernels/grid_sample), padding zeros, at the pixel fma(x, W_l, -0.5), fma(y, H_l, -0.5).
// One that is outside there is left out with its weight.
// Order: y = one fma chain from +0 over (l, p), l slowest, of weight * sample; rounded once to y's type.
// backward, with corners k, weights w and slopes as in grid_sample, and s_k = canonical row sum over D of dy v_k:
//   dvalue[pixel] = one fma chain from +0 over the samples that have it as a corner, in ascending order of (q, p), of
//     w_k * (weight * dy)
//   dweight = fma(w3, s3, fma(w2, s2, fma(w1, s1, w0 s0)));  dlocation = (weight * slope) * W_l (H_l)
// Deterministic, independent of N. Throws if shapes differ, D > 256, L > 8, L P > 256 or a sample's value spans 2^31
// elements.
// Source: Zhu et al. 2021, arXiv:2010.04159, equation 3; Li et al. 2022, arXiv:2203.17270, for its use in BEV encoders.

#include <array>
#include <limits>

#include "kernels/grid_sample/image.h"

namespace dr {

struct DeformableAttention {
  static constexpr std::string_view name = "deformable_attention";
  static constexpr int kMaxLevels = 8;
  static constexpr int64_t kMaxPoints = 256, kMaxWidth = 256;  // samples of a query and head; D
  struct Level { int32_t height = 0, width = 0; };
  std::array<Level, kMaxLevels> levels{};

  struct In {
    View value, locations, weights;
    static constexpr auto names = fields("value", "locations", "weights");
  };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad {
    View value, locations, weights;
    static constexpr auto names = fields("value", "locations", "weights");
  };

  Shapes infer(const In& in) const {
    CHECK(in.value.rank() == 4 && in.value.size(3) >= 1 && in.value.size(3) <= kMaxWidth,
          "deformable_attention: value must be (N,S,heads,D) with 1 <= D <= {}, got {}", kMaxWidth,
          to_string(in.value));
    expect_float(in.value, "deformable_attention: value");
    const int64_t n = in.value.size(0), heads = in.value.size(2);
    CHECK(in.locations.rank() == 6 && in.locations.size(3) <= kMaxLevels &&
              in.locations.size(3) * in.locations.size(4) <= kMaxPoints,
          "deformable_attention: locations must be (N,Q,heads,L,P,2) with L <= {} and L P <= {}, got {}", kMaxLevels,
          kMaxPoints, to_string(in.locations));
    const int64_t q = in.locations.size(1), l = in.locations.size(3), p = in.locations.size(4);
    expect_f32(in.locations, {n, q, heads, l, p, 2}, "deformable_attention: locations");
    expect_f32(in.weights, {n, q, heads, l, p}, "deformable_attention: weights");
    CHECK(in.locations.packed(1) && in.weights.packed(1),
          "deformable_attention: locations and weights must be packed but for axis 0");
    int64_t pixels = 0;
    for (int64_t i = 0; i < l; i++) {
      const Level& level = levels[size_t(i)];
      CHECK(level.height >= 1 && level.width >= 1, "deformable_attention: level {} is {} x {}, 1 x 1 is the least", i,
            level.height, level.width);
      pixels += int64_t(level.height) * level.width;
    }
    CHECK(in.value.size(1) == pixels, "deformable_attention: value has S={}, the {} levels have {} pixels",
          in.value.size(1), l, pixels);
    CHECK(2 * pixels * std::max(in.value.stride(1), heads * in.value.size(3)) < INT32_MAX,
          "deformable_attention: value may span 2^31 elements of a sample at most, got {}", to_string(in.value));
    return {{in.value.dtype, {n, q, heads * in.value.size(3)}}};
  }
  // Where value is bf16: sums of one head's dvalue for each thread.
  size_t scratch_bytes(const In& in, int threads) const {
    return in.value.dtype == DType::bf16 ? size_t(threads * in.value.size(1) * in.value.size(3)) * sizeof(float) : 0;
  }
  ScatterSize scatter_size(const In& in) const {
    int64_t cells = 0;
    for (int64_t l = 0; l < in.locations.size(3); l++)
      cells += ScatterSize::cells_of(levels[size_t(l)].height, levels[size_t(l)].width);
    return {in.weights.count(), in.value.size(0) * in.value.size(2) * cells};
  }
  size_t device_scratch_bytes(const In& in) const { return scatter_size(in).bytes(); }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // As grid_sample's, e the error of a coordinate; dvalue's chain has Q P samples of a level, and the product of weight
  // and dy; dweight and dlocation have four more roundings.
  double gradient_k(const In& in) const {
    double e = 1;
    for (const Level& l : levels) e = std::max(e, double(l.height + l.width));
    return double(in.locations.size(1) * in.locations.size(4)) + 64 * (2 + e) +
           32 * (double(in.value.size(3)) / 32 + 15 + e);
  }
  Cost cost(const In& in) const {
    return traffic(double(in.weights.count()) * (20 + 9.0 * double(in.value.size(3))), in, infer(in));
  }
  Cost backward_cost(const In& in) const {
    return backward_traffic(double(in.weights.count()) * (60 + 17.0 * double(in.value.size(3))), in, infer(in));
  }

  static std::vector<Case<DeformableAttention>> cases() {
    struct Shape { int64_t n, q, heads, d, p; };
    auto make = [](std::vector<Level> maps, Shape s, DType t = DType::f32, int64_t pad = 0) {
      DeformableAttention op;
      const int64_t l = int64_t(maps.size());
      int64_t pixels = 0;
      std::string text;
      for (size_t i = 0; i < maps.size(); i++) {
        op.levels[i] = maps[i];
        pixels += maps[i].height * maps[i].width;
        text += format("{}{}x{}", i ? "+" : "", maps[i].height, maps[i].width);
      }
      return Case<DeformableAttention>(
          op, {.name = format("N={},Q={},heads={},D={},P={},levels={},{}{}", s.n, s.q, s.heads, s.d, s.p, text,
                              name_of(t), pad ? ",strided" : ""),
               .in = {normal({s.n, pixels, s.heads, s.d}).as(t).padded(pad),
                      uniform({s.n, s.q, s.heads, l, s.p, 2}, -0.15, 1.15),
                      uniform({s.n, s.q, s.heads, l, s.p}, -1, 1)},
               .samples = int(std::max<int64_t>(1, s.n))});
    };
    std::vector<Case<DeformableAttention>> list;
    list.push_back(make({{5, 7}, {3, 4}, {2, 2}}, {2, 5, 2, 33, 3}));
    list.push_back(make({{4, 6}, {2, 3}}, {3, 7, 3, 16, 4}));
    list.push_back(make({{7, 5}}, {1, 31, 1, 31, 1}));
    list.push_back(make({{3, 5}, {5, 3}, {1, 1}, {2, 7}, {1, 4}}, {1, 4, 2, 7, 7}));  // 35 samples: several vectors
    list.push_back(make({{1, 1}}, {5, 3, 1, 64, 2}));
    list.push_back(make({{5, 7}, {3, 4}}, {2, 6, 2, 33, 3}, DType::bf16));
    list.push_back(make({{4, 3}, {2, 2}}, {2, 5, 3, 5, 2}, DType::bf16, 3));
    list.push_back(make({{4, 5}, {2, 2}}, {2, 5, 2, 9, 4}, DType::f32, 7));
    list.push_back(make({{4, 5}}, {0, 5, 2, 9, 4}));
    list.push_back(make({{4, 5}}, {2, 0, 2, 9, 4}));
    list.back().gradient = false;  // zeros
    {
      Case<DeformableAttention> c = make({{3, 4}, {2, 1}}, {1, 6, 2, 17, 5});
      c.name = "adversarial," + c.name;
      const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
      c.in[0] = adversarial(c.in[0].sizes);
      c.in[1] = values(c.in[1].sizes, {0, 0, 1, 1, 0.5, 0.5, nan, 0.5, 0.5, nan, inf, 0.5, 0.5, -inf, 1e30, 0.5, -1e30,
                                       0.3, 0.125, 0.375, 0.25, -0.25, 1.125, 0.9});
      c.gradient = false;  // kinks
      list.push_back(c);
    }
    {  // a BEV query grid over six cameras of 96 x 160 at strides of 8, 16, 32 and 64
      Case<DeformableAttention> c = make({{12, 20}, {6, 10}, {3, 5}, {2, 3}}, {6, 1024, 4, 16, 4});
      c.in[1] = uniform(c.in[1].sizes, 0, 1);
      c.bench = true;
      list.push_back(c);
    }
    return list;
  }
};

}  // namespace dr
