#pragma once
// Block-diagonal linear layer: G linear layers side by side, each on its own part of the features.
//
//   y[r,g,o] = sum_i x[r,g,i] weight[g,o,i] + bias[g,o]
//
//   x (R,G,I) f32|bf16    weight (G,O,I) f32|bf16    bias (G,O) of weight's type, packed, may be absent
//   y (R,G,O) like x, packed    Last axes contiguous; the other axes of x and weight with any strides.
// Order: canonical GEMM along I for each g, then one addition of the bias; rounded once to y. The bits are those of
//   Linear on each block.
// backward: dx[:,g] = dy[:,g] weight[g] (GEMM along O). Per leaf, over its R / leaves rows: dweight[g] = dy[:,g]^T
//   x[:,g] (GEMM along the rows), dbias = column sum of dy.
// Deterministic; y and dx are independent of R and of leaves. Throws if the shapes do not fit together.
// Source: Hafner et al. 2023, DreamerV3, arXiv:2301.04104 (the recurrent model's block-diagonal weights).

#include <cmath>

#include "kernels/core/chain_depth.h"
#include "kernels/core/gemm_scratch.h"
#include "kernels/core/op.h"

namespace dr {

struct BlockLinear {
  static constexpr std::string_view name = "block_linear";

  struct In {
    View x, weight, bias;
    static constexpr auto names = fields("x", "weight", "bias");
    static constexpr auto shared = fields("weight", "bias");
  };
  struct Out { View y; static constexpr auto names = fields("y"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View x, weight, bias; static constexpr auto names = fields("x", "weight", "bias"); };

  // The sizes of the product; block_gru's contract has it too.
  static Sizes sizes_of(const View& x, const View& weight, const View& bias, std::string_view op) {
    CHECK(x.rank() == 3 && weight.rank() == 3 && weight.size(0) == x.size(1) && weight.size(2) == x.size(2),
          "{}: x must be (R,G,I) and weight (G,O,I), got {} and {}", op, to_string(x), to_string(weight));
    CHECK(is_floating(x.dtype) && is_floating(weight.dtype), "{}: x and weight must be f32 or bf16, got {} and {}", op,
          to_string(x), to_string(weight));
    if (bias)
      CHECK((bias.sizes == Sizes{weight.size(0), weight.size(1)}) && bias.dtype == weight.dtype && bias.packed(),
            "{}: bias must be {}({},{}) as weight is, packed, got {}", op, name_of(weight.dtype), weight.size(0),
            weight.size(1), to_string(bias));
    return {x.size(0), x.size(1), weight.size(1)};
  }

  // What the products need on a device.
  static size_t device_scratch(const View& x, const View& weight) {
    const int64_t rows = x.size(0), blocks = x.size(1), inputs = x.size(2), outputs = weight.size(1);
    return std::max({gemm_scratch_bytes(rows * blocks * outputs, inputs),
                     gemm_scratch_bytes(rows * blocks * inputs, outputs),
                     gemm_scratch_bytes(blocks * outputs * inputs, rows),
                     RowGroups(1, rows, blocks * outputs).scratch_bytes(1)});
  }

  Shapes infer(const In& in) const { return {{in.x.dtype, sizes_of(in.x, in.weight, in.bias, name)}}; }
  size_t scratch_bytes(const In&, int) const { return 0; }
  size_t device_scratch_bytes(const In& in) const { return device_scratch(in.x, in.weight); }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // A gradient is one product along O, or one along the rows.
  double gradient_k(const In& in) const { return std::max(chain_depth(in.weight.size(1)), chain_depth(in.x.size(0))); }
  static double multiply_adds(const In& in) { return double(in.x.count()) * double(in.weight.size(1)); }
  Cost cost(const In& in) const { return traffic(2 * multiply_adds(in), in, infer(in)); }
  Cost backward_cost(const In& in) const { return backward_traffic(4 * multiply_adds(in), in, infer(in)); }

  static std::vector<Case<BlockLinear>> cases() {
    auto make = [](int64_t r, int64_t g, int64_t o, int64_t i, int samples, DType x = DType::f32, DType w = DType::f32,
                   bool bias = true, int64_t pad = 0) {
      std::string id = format("R={},G={},O={},I={}", r, g, o, i);
      if (x != DType::f32 || w != DType::f32) id += format(",{}x{}", name_of(x), name_of(w));
      if (!bias) id += ",no_bias";
      if (pad) id += ",strided";
      const double deviation = 1 / std::sqrt(double(std::max<int64_t>(i, 1)));
      return Case<BlockLinear>(
          {}, {.name = id,
               .in = {normal({r, g, i}, 0.1).as(x).padded(pad), normal({g, o, i}, 0, deviation).as(w).padded(pad),
                      bias ? normal({g, o}).as(w) : absent()},
               .samples = samples,
               .gradient = r > 0});  // weights have no gradient but zero
    };
    std::vector<Case<BlockLinear>> list = {
        make(12, 4, 17, 10, 4),
        make(33, 2, 33, 31, 3, DType::bf16, DType::f32, true, 3),
        make(10, 3, 65, 7, 2, DType::bf16, DType::bf16),
        make(6, 5, 7, 33, 2, DType::f32, DType::bf16, false, 1),
        make(4, 2, 5, 1100, 2),
        make(1300, 2, 3, 5, 2),  // leaves of two chunks
        make(5, 1, 5, 5, 5),
        make(7, 31, 1, 1, 7),
        make(0, 2, 3, 4, 1),
        Case<BlockLinear>({}, {.name = "adversarial",
                               .in = {adversarial({4, 2, 60}), adversarial({2, 19, 60}), adversarial({2, 19})},
                               .samples = 2}),
    };
    for (auto [r, t] : {std::pair{1024, DType::f32}, {1024, DType::bf16}, {16, DType::f32}}) {  // deter 4096, 8 blocks
      list.push_back(make(r, 8, 1536, 512, 1, t, t));
      list.back().bench = true;
    }
    return list;
  }
};

}  // namespace dr
