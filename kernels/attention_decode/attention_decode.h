#pragma once
// Attention of one new frame against cached keys and values: what attention (kernels/attention) computes for that
// frame's rows of a whole sequence, bit for bit, when the cache holds the frames that the mask lets it see.
//
//   q (B,S,H,D) f32|bf16    k, v (B,N,S,H,D) like q: N slots of a frame each, in any order (a ring buffer)
//   order (1 + max) i32, shared: the number of visible frames, 1 <= n <= max, then their slots in logical order:
//     anchors, oldest to newest, self. The frame's own keys and values are already in the cache, its slot comes last.
//   y like q, packed.   q, k and v: any strides but the last axis
//   scale: a setting; 0 stands for 1.0f / sqrt(float(D))
// Order: attention's, with keys numbered by `order`; where a frame lies in the cache cannot change a bit. No backward.
// Deterministic, independent of B. Throws if shapes differ or `order` names no such slot.
// Source: keys and values of context frames never change under a banded mask, so they are kept: Pope et al. 2022,
//   arXiv:2211.05102.

#include <cmath>

#include "kernels/attention/layout.h"
#include "kernels/core/gemm_scratch.h"
#include "kernels/core/op.h"

namespace dr {

struct AttentionDecode {
  static constexpr std::string_view name = "attention_decode";
  float scale = 0;

  struct In {
    View q, k, v, order;
    static constexpr auto names = fields("q", "k", "v", "order");
    static constexpr auto shared = fields("order");
  };
  struct Out { View y; static constexpr auto names = fields("y"); };

  float scale_for(int64_t head_width) const { return scale != 0 ? scale : 1.0f / std::sqrt(float(head_width)); }

  Shapes infer(const In& in) const {
    CHECK(in.q.rank() == 4 && in.q.size(3) >= 1 && in.q.size(3) <= kMaxHeadWidth,
          "attention_decode: q must be (B,S,H,D) with 1 <= D <= {}, got {}", kMaxHeadWidth, to_string(in.q));
    expect_float(in.q, "attention_decode: q");
    CHECK(in.k.rank() == 5, "attention_decode: k must be (B,N,S,H,D), got {}", to_string(in.k));
    const Sizes cache{in.q.size(0), in.k.size(1), in.q.size(1), in.q.size(2), in.q.size(3)};
    expect_sizes(in.k, cache, "attention_decode: k");
    expect_sizes(in.v, cache, "attention_decode: v");
    CHECK(in.k.dtype == in.q.dtype && in.v.dtype == in.q.dtype,
          "attention_decode: q, k and v must have one type, got {}, {}, {}", name_of(in.q.dtype), name_of(in.k.dtype),
          name_of(in.v.dtype));
    CHECK(in.order.rank() == 1 && in.order.size(0) >= 2 && in.order.dtype == DType::i32,
          "attention_decode: order must be (1 + max) i32 with max >= 1, got {}", to_string(in.order));
    return {{in.q.dtype, in.q.sizes}};
  }
  size_t scratch_bytes(const In& in, int threads) const {
    return size_t(threads) * scratch_per_thread<ForwardBuffers>(shape(in));
  }
  // The order as it was checked, then scores, denominators, and sums of chunks of keys.
  DeviceHeads device_heads(const In& in) const {
    return {in.q.size(0) * in.q.size(2), in.q.size(1), shape(in).keys, in.q.size(3), 1, false};
  }
  static size_t order_bytes(const In& in) { return size_t(whole_lines(in.order.size(0))) * sizeof(float); }
  static size_t den_bytes(const In& in) { return size_t(in.q.size(0) * in.q.size(1) * in.q.size(2)) * sizeof(float); }
  size_t device_scratch_bytes(const In& in) const {
    const DeviceHeads room = device_heads(in);
    return order_bytes(in) + room.bytes() + den_bytes(in) +
           gemm_scratch_bytes(room.wave * in.q.size(1) * in.q.size(3), room.ld);
  }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  void reference(const In&, const Out&, const Out& bound) const;
  // As if `order` were full: what it holds is data.
  Cost cost(const In& in) const {
    return traffic(double(in.q.count()) * double(shape(in).keys) * (4.0 + 6.0 / double(in.q.size(3))), in, infer(in));
  }

  // Keys laid out in logical order, as many frames as `order` may name.
  HeadShape shape(const In& in) const {
    const int64_t frames = in.order.size(0) - 1;
    return {in.q.size(1), in.q.size(3), frames, frames * in.q.size(1)};
  }

  static std::vector<Case<AttentionDecode>> cases() {
    struct Shape { int64_t batch, slots, tokens, heads, width; };
    // `max` slots of order; past its count it holds -1, which must not be looked at.
    auto make = [](Shape s, std::vector<double> order, int64_t max, DType t = DType::f32, int64_t pad = 0) {
      const Input cache = normal({s.batch, s.slots, s.tokens, s.heads, s.width}).as(t).padded(pad);
      std::string name = format("B={},N={},S={},H={},D={},n={},{}{}", s.batch, s.slots, s.tokens, s.heads, s.width,
                                order.size(), name_of(t), pad ? ",strided" : "");
      const double count = double(order.size());
      order.insert(order.begin(), count);
      order.resize(size_t(max + 1), -1);
      const Input q = normal({s.batch, s.tokens, s.heads, s.width}).as(t).padded(pad);
      const Input list = values({max + 1}, order).as(DType::i32);
      return Case<AttentionDecode>({}, {.name = name, .in = {q, cache, cache, list}, .samples = int(s.batch)});
    };
    std::vector<Case<AttentionDecode>> list;
    for (DType t : {DType::f32, DType::bf16}) {
      list.push_back(make({2, 4, 5, 2, 33}, {0, 3, 1, 2}, 4, t));
      list.push_back(make({1, 12, 36, 2, 16}, {0, 1, 7, 8, 9, 10, 11, 2, 3, 4}, 11, t, 3));
    }
    list.push_back(make({3, 1, 7, 1, 64}, {0}, 1));
    list.push_back(make({1, 5, 31, 2, 64}, {4, 2, 0}, 5));
    list.push_back(make({1, 3, 33, 1, 16}, {1, 2}, 3));
    list.push_back(make({0, 3, 5, 2, 16}, {1, 2}, 3));
    list.push_back(make({2, 3, 0, 2, 16}, {1, 2}, 3));
    {  // a row longer than one block of a canonical sum, and chains of many chunks
      std::vector<double> order;
      for (int i = 0; i < 4200; i++) order.push_back(double((i * 11) % 4200));
      list.push_back(make({1, 4200, 1, 1, 3}, order, 4200));
    }
    {
      Case<AttentionDecode> c = make({1, 4, 7, 1, 16}, {2, 3, 0}, 4);
      c.name = "sharp," + c.name;
      c.in[0].b = c.in[1].b = 8;
      c.in[2] = adversarial(c.in[2].sizes);
      list.push_back(c);
    }
    {
      Case<AttentionDecode> c = make({1, 15, 128, 12, 64}, {0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 12, 13, 14, 5, 6}, 15);
      c.bench = true;
      list.push_back(c);
    }
    return list;
  }
};

}  // namespace dr
