#pragma once
// Attention from the fused projection of queries, keys and values, without keeping the normalised and rotated queries
// and keys: backward makes them again from qkv.
//
//   q, k = qk_norm_rotary(qkv[:,:,0], qkv[:,:,1])  (kernels/qk_norm_rotary/qk_norm_rotary.h)
//   y = attention(q, k, qkv[:,:,2])                (kernels/attention/attention.h)
//
//   qkv (B,L,3,H,D) f32|bf16, [q | k | v], any strides on the first four axes, 1 <= D <= 256
//   q_weight, k_weight (D) f32, either may be absent (1)    cos, sin (B,L,D/2) f32: both or neither
//   y (B,L,H,D) like qkv, packed    max, den (B,H,L) f32: saved for backward
//   scale: as Attention has it
// Order: that of QkNormRotary, whose q and k are rounded to qkv's type, then that of Attention: the bits of the two in
//   turn, with bf16 tensors as well.
// backward: that of Attention, whose gradients of q and k are rounded to qkv's type, then that of QkNormRotary. All
//   three gradients are written where they belong in one tensor like qkv.
// Deterministic; all but the gradients of the weights is independent of B. Throws as its parts do.
// Source: as its parts name; recomputation: Chen et al. 2016, arXiv:1604.06174.

#include "kernels/attention/attention.h"
#include "kernels/core/carver.h"
#include "kernels/qk_norm_rotary/qk_norm_rotary.h"

namespace dr {

struct QkvAttention {
  static constexpr std::string_view name = "qkv_attention";
  FrameMask mask;
  float scale = 0;
  float eps = 1e-5f;

  struct In {
    View qkv, q_weight, k_weight, cos, sin;
    static constexpr auto names = fields("qkv", "q_weight", "k_weight", "cos", "sin");
    static constexpr auto shared = fields("q_weight", "k_weight");
  };
  struct Out { View y, max, den; static constexpr auto names = fields("y", "max", "den"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad {
    View qkv, q_weight, k_weight;
    static constexpr auto names = fields("qkv", "q_weight", "k_weight");
  };

  // q, k or v (B,L,H,D) of qkv.
  static View part(const View& qkv, int64_t index) {
    View v = qkv.slice(2, index, 1);
    v.sizes = {qkv.size(0), qkv.size(1), qkv.size(3), qkv.size(4)};
    v.strides = {qkv.stride(0), qkv.stride(1), qkv.stride(3), qkv.stride(4)};
    return v;
  }
  QkNormRotary norm() const { return {.eps = eps}; }
  static QkNormRotary::In norm_in(const In& in) {
    return {part(in.qkv, 0), part(in.qkv, 1), in.q_weight, in.k_weight, in.cos, in.sin};
  }
  Attention attention() const { return {.mask = mask, .scale = scale}; }
  // What Attention is given, but for the contents of q and k.
  static Attention::In attention_in(const In& in) { return {part(in.qkv, 0), part(in.qkv, 1), part(in.qkv, 2)}; }

  Shapes infer(const In& in) const {
    CHECK(in.qkv.rank() == 5 && in.qkv.size(2) == 3, "qkv_attention: qkv must be (B,L,3,H,D), got {}",
          to_string(in.qkv));
    norm().infer(norm_in(in));
    return attention().infer(attention_in(in));
  }
  size_t scratch_bytes(const In& in, int threads) const {
    Carver c;
    Heads(in, c);
    return c.bytes() + std::max(norm().scratch_bytes(norm_in(in), threads),
                                attention().scratch_bytes(attention_in(in), threads));
  }
  size_t device_scratch_bytes(const In& in) const {
    Carver c;
    Heads(in, c);
    return c.bytes() + std::max(norm().scratch_bytes(norm_in(in), 1),
                                attention().device_scratch_bytes(attention_in(in)));
  }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // The outputs of QkNormRotary in scratch. Attention's gradients of q and k take the place of these.
  struct Heads {
    View q, k, q_rstd, k_rstd;

    Heads(const In& in, Carver& c) {
      const Sizes heads = part(in.qkv, 0).sizes, rows{heads[0], heads[1], heads[2]};
      q = view(c, in.qkv.dtype, heads), k = view(c, in.qkv.dtype, heads);
      q_rstd = view(c, DType::f32, rows), k_rstd = view(c, DType::f32, rows);
    }
    static View view(Carver& c, DType t, const Sizes& sizes) {
      const int64_t bytes = sizes.count() * int64_t(size_of(t)), f32 = int64_t(sizeof(float));
      return View(c.take((bytes + f32 - 1) / f32), t, sizes);
    }
    QkNormRotary::Out out() const { return {q, k, q_rstd, k_rstd}; }
  };

  double gradient_k(const In& in) const;
  Cost cost(const In& in) const {
    return traffic(norm().cost(norm_in(in)).flops + attention().cost(attention_in(in)).flops, in, infer(in));
  }
  Cost backward_cost(const In& in) const {
    const QkNormRotary::In n = norm_in(in);
    return backward_traffic(norm().cost(n).flops + norm().backward_cost(n).flops +
                                attention().backward_cost(attention_in(in)).flops,
                            in, infer(in));
  }

  static std::vector<Case<QkvAttention>> cases() {
    struct Shape { int64_t batch, frames, heads, width; };
    struct Options {
      DType t = DType::f32;
      bool weights = true, tables = true;
      int64_t pad = 0;
    };
    auto make = [](FrameMask mask, Shape s, Options o) {
      const int64_t length = s.frames * mask.tokens_per_frame;
      const Input weight = o.weights ? normal({s.width}, 1, 0.25) : absent();
      const Input angle = o.tables ? uniform({s.batch, length, s.width / 2}, -1, 1).padded(o.pad) : absent();
      return Case<QkvAttention>(
          {.mask = mask},
          {.name = format("{},B={},F={},H={},D={},{}{}{}{}", to_string(mask), s.batch, s.frames, s.heads, s.width,
                          name_of(o.t), o.weights ? "" : ",no weight", o.tables ? "" : ",no tables",
                          o.pad ? ",strided" : ""),
           .in = {normal({s.batch, length, 3, s.heads, s.width}, 0.3, 2).as(o.t).padded(o.pad), weight, weight, angle,
                  angle},
           .samples = int(std::max<int64_t>(s.batch, 1))});
    };
    std::vector<Case<QkvAttention>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make({.tokens_per_frame = 5}, {2, 4, 2, 16}, {.t = t}));
      list.push_back(make({.tokens_per_frame = 7, .anchors = 2, .window = 2}, {3, 5, 1, 10}, {.t = t, .pad = 3}));
      list.push_back(make({.tokens_per_frame = 5, .anchors = 2, .window = 2, .targets = 3}, {2, 9, 1, 8},
                          {.t = t, .weights = false}));
      list.push_back(make({.tokens_per_frame = 3}, {2, 3, 2, 33}, {.t = t, .tables = false}));
      list.push_back(make({.tokens_per_frame = 1, .window = 4}, {1, 7, 1, 7},
                          {.t = t, .weights = false, .tables = false, .pad = 1}));
    }
    list.push_back(make({.tokens_per_frame = 31}, {1, 3, 1, 64}, {}));
    list.push_back(make({.tokens_per_frame = 33}, {2, 1, 1, 32}, {}));                           // bidirectional
    list.push_back(make({.tokens_per_frame = 130, .anchors = 1, .window = 2}, {1, 4, 1, 4}, {}));  // two chunks of keys
    list.push_back(make({.tokens_per_frame = 5}, {1, 21, 5, 4}, {}));                            // of a weight's rows
    list.push_back(make({.tokens_per_frame = 1}, {1, 2, 1, 256}, {}));
    list.push_back(make({.tokens_per_frame = 1}, {1, 1, 1, 1}, {.tables = false}));  // y = v
    list.back().gradient = false;
    list.push_back(make({.tokens_per_frame = 5}, {0, 3, 2, 16}, {}));
    list.back().gradient = false;
    list.push_back(make({.tokens_per_frame = 5, .anchors = 2}, {2, 0, 2, 16}, {}));
    list.back().gradient = false;
    {
      Case<QkvAttention> c = make({.tokens_per_frame = 5, .window = 2}, {2, 4, 2, 12}, {});
      c.name = "scale,eps," + c.name;
      c.op.scale = 0.5f, c.op.eps = 1;
      list.push_back(c);
    }
    {
      Case<QkvAttention> c = make({.tokens_per_frame = 3}, {2, 2, 2, 20}, {});
      c.name = "adversarial";
      c.in[0] = adversarial(c.in[0].sizes);
      list.push_back(c);
    }
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make({.tokens_per_frame = 128}, {1, 15, 12, 64}, {.t = t}));
      list.back().bench = true;
    }
    return list;
  }
};

}  // namespace dr
