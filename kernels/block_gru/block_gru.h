#pragma once
// One step of DreamerV3's block GRU, from the input of its last layer on: a block-diagonal linear layer gives the gates
// of every block, and the cell moves the state.
//
//   gates[r,g,:] = weight[g] x[r,g,:] + bias[g]        reset, candidate and update, H each
//   h'[r,g,i] = z tanh(sigmoid(reset) candidate) + (1 - z) h[r,g,i],   z = sigmoid(update - 1)
//
//   x (R,G,I), h (R,G,H) f32|bf16 of one type    weight (G,3H,I) f32|bf16    bias (G,3H) of weight's type, packed, may
//   be absent    h' like h, packed    gates (R,G,3H) f32: saved for backward, which would inherit the error of rounded
//   ones.
//   Last axes contiguous, the others with any strides. The whole state is the G blocks of H side by side.
// What stands before it in the model is not part of it: the layers that make x from the state and the inputs
//   (BlockLinear, norm, SiLU).
// Order: that of BlockLinear, then that of GruCell, before the one rounding to h'. With f32 tensors the bits are those
//   of the two in turn.
// backward: dh and dgates as GruCell, in f32; then the gradients of BlockLinear.
// Deterministic; h', dx and dh are independent of R and of leaves. Throws if the shapes do not fit together.
// Source: Hafner et al. 2023, DreamerV3, arXiv:2301.04104.

#include "kernels/block_linear/block_linear.h"
#include "kernels/gru_cell/gru_cell.h"

namespace dr {

struct BlockGru {
  static constexpr std::string_view name = "block_gru";

  struct In {
    View x, h, weight, bias;
    static constexpr auto names = fields("x", "h", "weight", "bias");
    static constexpr auto shared = fields("weight", "bias");
  };
  struct Out { View h, gates; static constexpr auto names = fields("h", "gates"); };
  struct OutGrad { View h; static constexpr auto names = fields("h"); };
  struct Grad {
    View x, h, weight, bias;
    static constexpr auto names = fields("x", "h", "weight", "bias");
  };

  Shapes infer(const In& in) const {
    const Sizes gates = BlockLinear::sizes_of(in.x, in.weight, in.bias, name);
    CHECK(in.h.rank() == 3 && gates[2] == 3 * in.h.size(2),
          "block_gru: weight must be (G,3H,I) with h (R,G,H), got {} and {}",
          to_string(in.weight), to_string(in.h));
    expect_sizes(in.h, {gates[0], gates[1], gates[2] / 3}, "block_gru: h");
    CHECK(in.h.dtype == in.x.dtype, "block_gru: x and h must have one dtype, got {} and {}", to_string(in.x),
          to_string(in.h));
    return {{in.h.dtype, in.h.sizes}, {DType::f32, gates}};
  }
  size_t scratch_bytes(const In& in, int) const { return size_t(3 * in.h.count()) * sizeof(float); }  // dgates
  size_t device_scratch_bytes(const In& in) const {
    return scratch_bytes(in, 1) + BlockLinear::device_scratch(in.x, in.weight);
  }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // The cell's own, and the product that follows. The gates' errors, a chain along I, change each factor of the cell's
  // gradient by no more than as much (the logarithmic derivatives of s (1 - s), z and 1 - c^2 are at most 2).
  double gradient_k(const In& in) const {
    return GruCell::kGradient + 8 * (chain_depth(in.x.size(2)) + 1) +
           std::max(chain_depth(in.weight.size(1)), chain_depth(in.x.size(0)));
  }
  static double multiply_adds(const In& in) { return double(in.x.count()) * double(in.weight.size(1)); }
  Cost cost(const In& in) const { return traffic(2 * multiply_adds(in) + 12.0 * double(in.h.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {
    return backward_traffic(4 * multiply_adds(in) + 24.0 * double(in.h.count()), in, infer(in));
  }

  static std::vector<Case<BlockGru>> cases() {
    auto make = [](int64_t r, int64_t g, int64_t h, int64_t i, int samples, DType x = DType::f32, DType w = DType::f32,
                   bool bias = true, int64_t pad = 0) {
      std::string id = format("R={},G={},H={},I={}", r, g, h, i);
      if (x != DType::f32 || w != DType::f32) id += format(",{}x{}", name_of(x), name_of(w));
      if (!bias) id += ",no_bias";
      if (pad) id += ",strided";
      const double spread = 1.2 / std::sqrt(double(std::max<int64_t>(i, 1)));
      return Case<BlockGru>({}, {.name = id,
                                 .in = {uniform({r, g, i}, -1, 1).as(x).padded(pad),
                                        uniform({r, g, h}, -1, 1).as(x).padded(2 * pad),
                                        uniform({g, 3 * h, i}, -spread, spread).as(w).padded(pad),
                                        bias ? uniform({g, 3 * h}, -1, 1).as(w) : absent()},
                                 .samples = samples,
                                 .gradient = r > 0});  // weights have no gradient but zero
    };
    std::vector<Case<BlockGru>> list = {
        make(8, 3, 7, 10, 4),
        make(6, 2, 31, 33, 3, DType::bf16, DType::f32, true, 3),
        make(10, 1, 5, 31, 2, DType::bf16, DType::bf16),
        make(5, 5, 1, 5, 5, DType::f32, DType::bf16, false, 1),
        make(2, 2, 33, 600, 2),
        make(0, 2, 3, 4, 1),
    };
    for (auto [r, t] : {std::pair{1024, DType::f32}, {1024, DType::bf16}, {16, DType::f32}}) {  // deter 4096, 8 blocks
      list.push_back(make(r, 8, 512, 512, 1, t, t));
      list.back().bench = true;
    }
    return list;
  }
};

}  // namespace dr
