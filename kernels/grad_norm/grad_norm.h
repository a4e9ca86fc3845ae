#pragma once
// Sums of squares of one tensor, block by block: the first half of the norm of a gradient.
//
//   sums[b] = sum of grad[i]^2 over i in [4096 b, 4096 (b + 1))
//
//   grad f32 of any shape, packed, taken as flat (N)    sums (ceil(N / 4096)) f32
// Order: in a block 32 lanes, squares added by fma, butterfly (the canonical row reduction).
//
// Why blocks and not one number: the trainer lets each of its parameters' gradients write a slice of one buffer and
// gives the whole buffer to ClipScale, which adds it by one binary tree. A sharded state cuts tensors at multiples of 4096
// elements, so a rank computes the sums of its own blocks, the ranks exchange the buffer (one float per 4096
// parameters), and every rank adds the same numbers in the same order: the norm does not depend on the sharding.
// ClipScale on the slice of one tensor gives that tensor's norm.
// Forward only. Deterministic. NaN and infinity go through to the block's sum.

#include "kernels/core/op.h"

namespace dr {

struct GradNorm {
  static constexpr std::string_view name = "grad_norm";
  static constexpr int64_t kBlock = 4096;  // elements of a block; shards are cut at its multiples

  struct In { View grad; static constexpr auto names = fields("grad"); };
  struct Out { View sums; static constexpr auto names = fields("sums"); };

  static int64_t blocks(int64_t elements) { return (elements + kBlock - 1) / kBlock; }

  Shapes infer(const In& in) const {
    CHECK(in.grad.present() && in.grad.packed(), "grad_norm: grad must be packed, got {}", to_string(in.grad));
    expect_f32(in.grad, in.grad.sizes, "grad_norm: grad");
    return {{DType::f32, {blocks(in.grad.count())}}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  void reference(const In&, const Out&, const Out& bound) const;
  Cost cost(const In& in) const { return traffic(2.0 * double(in.grad.count()), in, infer(in)); }

  static std::vector<Case<GradNorm>> cases() {
    auto make = [](std::string_view name, Input grad) {
      return Case<GradNorm>({}, {.name = std::string(name), .in = {std::move(grad)}});
    };
    std::vector<Case<GradNorm>> list = {
        make("N=1", normal({1})),           make("N=33", normal({33})),
        make("N=4095", normal({4095})),     make("N=4096", normal({4096})),
        make("N=4097", normal({4097})),     make("N=3x5x7x96", normal({3, 5, 7, 96}, 0, 1e-3)),
        make("N=20511", normal({20511})),   make("empty", normal({0})),
        make("adversarial", adversarial({5000})),
        make("bench N=67108864", normal({int64_t{1} << 26}))};
    list.back().bench = true;
    return list;
  }
};

}  // namespace dr
