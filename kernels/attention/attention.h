#pragma once
// Scaled dot-product attention under a frame mask (frame_mask.h).
//
//   s[i,j] = scale * sum_d q[i,d] k[j,d]      m[i] = max_j s[i,j]      den[i] = sum_j exp(s[i,j] - m[i])
//   p[i,j] = exp(s[i,j] - m[i]) / den[i]      y[i,d] = sum_j p[i,j] v[j,d]           j over the keys that i sees
//
//   q, k, v (B,L,H,D) f32|bf16, all alike, any strides on the first three axes, 1 <= D <= 256    y like q, packed
//   max, den (B,H,L) f32: saved for backward
//   Gradients have any strides on the first three axes; those of q and k may be the memory of q and k.
//   scale: a setting; 0 stands for 1.0f / sqrt(float(D)), two IEEE f32 operations
// Order. Masked keys are skipped: below, key number n of a query is the n-th it sees in logical order (anchors, oldest
//   to newest, self), query number n of a key is the n-th that sees it in the order of the sequence.
//   forward: s = scale * chain(d, q k), one multiplication after the chain. m is the largest s, a zero being +0 and NaN
//     if any s is NaN. e = exp(s - m); den = canonical row sum of e by key number; p = e / den;
//     y = chain(key number, p v).
//   backward: s as above, p = exp(s - max) / den from the saved values; dp = chain(d, dy v); delta = canonical row sum
//     of fma(p, dp, .) by key number; ds = p * (dp - delta); dq = scale * chain(key number, ds k);
//     dv = chain(query number, p dy); dk = scale * chain(query number, ds q).
//   chain(n, a b): chunks of 512 numbers; fma from +0 inside a chunk in ascending order; chunk sums added in ascending
//     order beginning with the first. Row sums: kernels/core/reduce.h. bf16 is widened exactly, outputs rounded once.
//   delta is not dot(dy, y): y has been rounded to bf16 by then, and every ds of the row would inherit that error.
// Deterministic, independent of B. Throws if L is no whole number of frames or shapes differ.
// Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.1; the gradient as in Dao et al. 2022, arXiv:2205.14135,
//   appendix B.2.

#include <algorithm>
#include <cmath>

#include "kernels/attention/layout.h"
#include "kernels/core/gemm_scratch.h"
#include "kernels/core/op.h"

namespace dr {

struct Attention {
  static constexpr std::string_view name = "attention";
  FrameMask mask;
  float scale = 0;

  struct In { View q, k, v; static constexpr auto names = fields("q", "k", "v"); };
  struct Out { View y, max, den; static constexpr auto names = fields("y", "max", "den"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View q, k, v; static constexpr auto names = fields("q", "k", "v"); };

  float scale_for(int64_t head_width) const { return scale != 0 ? scale : 1.0f / std::sqrt(float(head_width)); }

  Shapes infer(const In& in) const {
    CHECK(in.q.rank() == 4 && in.q.size(3) >= 1 && in.q.size(3) <= kMaxHeadWidth,
          "attention: q must be (B,L,H,D) with 1 <= D <= {}, got {}", kMaxHeadWidth, to_string(in.q));
    expect_float(in.q, "attention: q");
    expect_sizes(in.k, in.q.sizes, "attention: k");
    expect_sizes(in.v, in.q.sizes, "attention: v");
    CHECK(in.k.dtype == in.q.dtype && in.v.dtype == in.q.dtype,
          "attention: q, k and v must have one type, got {}, {}, {}", name_of(in.q.dtype), name_of(in.k.dtype),
          name_of(in.v.dtype));
    mask.check(in.q.size(1), "attention");
    const Sizes row{in.q.size(0), in.q.size(2), in.q.size(1)};
    return {{in.q.dtype, in.q.sizes}, {DType::f32, row}, {DType::f32, row}};
  }
  size_t scratch_bytes(const In& in, int threads) const {
    const HeadShape s = head_shape(mask, in.q.size(1), in.q.size(3));
    return size_t(threads) * std::max(scratch_per_thread<ForwardBuffers>(s), scratch_per_thread<BackwardBuffers>(s));
  }
  // Scores, in backward their gradients and those of the queries; and sums of chunks of keys.
  DeviceHeads device_heads(const In& in, bool backward) const {
    const HeadShape s = head_shape(mask, in.q.size(1), in.q.size(3));
    return {in.q.size(0) * in.q.size(2), in.q.size(1), s.keys, s.width, backward ? 2 : 1, backward};
  }
  size_t device_scratch_bytes(const In& in) const {
    const DeviceHeads forward = device_heads(in, false), backward = device_heads(in, true);
    const int64_t count = in.q.size(1) * in.q.size(3);  // of a head's result
    return std::max(forward.bytes() + gemm_scratch_bytes(forward.wave * count, forward.ld),
                    backward.bytes() + gemm_scratch_bytes(backward.wave * count, std::max(backward.ld, in.q.size(1))));
  }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // Pairs of a query and a key it sees, over the whole call.
  double pairs(const In& in) const {
    const int64_t length = in.q.size(1), frames = mask.frames(length), tokens = mask.frame_tokens(length);
    double n = 0;
    for (int64_t f = 0; f < frames; f++) n += double(mask.visible(f, frames).frames());
    return n * double(tokens * tokens) * double(in.q.size(0) * in.q.size(2));
  }
  double gradient_k(const In& in) const;
  // Per pair: 2 D for the scores, 2 D for the values, and scaling, maximum, subtraction, exp, sum and division.
  Cost cost(const In& in) const { return traffic(pairs(in) * (4.0 * double(in.q.size(3)) + 6), in, infer(in)); }
  Cost backward_cost(const In& in) const {
    return backward_traffic(pairs(in) * (10.0 * double(in.q.size(3)) + 8), in, infer(in));
  }

  static std::vector<Case<Attention>> cases() {
    struct Shape { int64_t batch, frames, heads, width; };
    auto make = [](FrameMask mask, Shape s, DType t = DType::f32, int64_t pad = 0) {
      const Sizes sizes{s.batch, s.frames * mask.tokens_per_frame, s.heads, s.width};
      const Input x = normal(sizes).as(t).padded(pad);
      return Case<Attention>({.mask = mask},
                             {.name = format("{},B={},F={},H={},D={},{}{}", to_string(mask), s.batch, s.frames, s.heads,
                                             s.width, name_of(t), pad ? ",strided" : ""),
                              .in = {x, x, x},
                              .samples = int(s.batch)});
    };
    std::vector<Case<Attention>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make({.tokens_per_frame = 5}, {2, 4, 2, 33}, t));
      list.push_back(make({.tokens_per_frame = 7, .anchors = 2, .window = 2}, {1, 7, 2, 16}, t, 3));
      list.push_back(make({.tokens_per_frame = 5, .anchors = 2, .window = 2, .targets = 3}, {2, 9, 1, 16}, t));
    }
    list.push_back(make({.tokens_per_frame = 1}, {1, 31, 2, 16}));
    list.push_back(make({.tokens_per_frame = 1, .anchors = 1, .window = 0, .targets = 2}, {1, 5, 1, 7}));
    list.push_back(make({.tokens_per_frame = 31}, {1, 3, 1, 64}));
    const FrameMask odd{.tokens_per_frame = 33, .anchors = 1, .window = 1, .targets = 1};
    list.push_back(make(odd, {1, 4, 1, 16}, DType::f32, 32));
    list.push_back(make({.tokens_per_frame = 33}, {2, 1, 2, 64}));  // bidirectional
    const FrameMask long_chains{.tokens_per_frame = 130, .anchors = 1, .window = 2};  // two chunks of keys, of queries
    list.push_back(make(long_chains, {1, 4, 1, 3}));
    list.push_back(make({.tokens_per_frame = 3}, {1, 2, 1, 256}));
    list.push_back(make({.tokens_per_frame = 5}, {0, 3, 2, 16}));
    list.push_back(make({.tokens_per_frame = 5, .anchors = 2}, {2, 0, 2, 16}));
    {
      Case<Attention> c = make({}, {1, 0, 2, 8});
      c.name = "whole,L=13";
      for (Input& x : c.in) x.sizes[1] = 13;
      list.push_back(c);
    }
    {
      Case<Attention> c = make({.tokens_per_frame = 1}, {1, 1, 1, 1});  // y = v: no gradient reaches q and k
      c.gradient = false;
      list.push_back(c);
    }
    {  // one key takes almost all of the weight, exp underflows for others
      Case<Attention> c = make({.tokens_per_frame = 5, .window = 2}, {1, 5, 1, 16});
      c.name = "sharp," + c.name;
      c.in[0].b = c.in[1].b = 8;
      list.push_back(c);
    }
    {  // equal scores, and values that cancel
      Case<Attention> c = make({.tokens_per_frame = 5}, {1, 4, 1, 8});
      c.name = "ties," + c.name;
      c.op.scale = 0.5f;
      const Sizes sizes = c.in[0].sizes;
      c.in = {values(sizes, {1, -1, 0, 2, -0.0}), values(sizes, {1, 1, -2}), adversarial(sizes)};
      list.push_back(c);
    }
    {
      Case<Attention> c = make({.tokens_per_frame = 128}, {1, 15, 12, 64});
      c.bench = true;
      list.push_back(c);
    }
    return list;
  }
};

}  // namespace dr
