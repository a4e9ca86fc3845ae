#pragma once
// One class drawn from each of many categorical distributions, one-hot, with straight-through gradients.
//
//   s = softmax(logits)      probs = (1 - unimix) s + unimix / K      sample = one-hot of index, drawn from probs
//   argmax: index is the class of the largest logit instead
//
//   logits (B, ..., K) f32|bf16, packed but for axis 0, which counts samples and may be strided
//   rng (4) u32: seed low, seed high, step, reserved; shared; not read, and may be absent, with argmax
//   sample like logits, packed    index (B, ...) i32    probs (B, ..., K) f32
//   u: a uniform number in [0, 1) of core/philox.h for each distribution; element index = first_sample *
//     (distributions per sample) + position in index, so a slice of a batch or a recomputation draws the same.
// Order: s = exp(x - max) / den, den the canonical row sum; probs = fma(1 - unimix, s, unimix / K). index is the first
//   class with u < probs[0] + ... + probs[index], added in f32 in ascending order; where rounding leaves the last sum
//   at or below u, the last class whose probability is not 0. argmax by the total order, a tie to the lowest class.
//   Distributions with a NaN or +inf among the logits, or with -inf alone, have NaN for a sample and index -1.
// backward: d = dprobs, plus dsample if straight_through, as if sample were probs;
//   dlogits = ((1 - unimix) s) (d - canonical row sum of s d).
// Deterministic, independent of B. Throws if K == 0 or unimix is not in [0, 1].
// Source: Hafner et al. 2023, arXiv:2301.04104 (1 % of uniform, straight-through); Bengio et al. 2013, arXiv:1308.3432.

#include "kernels/core/op.h"
#include "kernels/core/philox.h"
#include "kernels/core/row_blocks.h"

namespace dr {

struct Categorical {
  static constexpr std::string_view name = "categorical";
  float unimix = 0.01f;
  bool argmax = false, straight_through = true;

  struct In {
    View logits, rng;
    static constexpr auto names = fields("logits", "rng");
    static constexpr auto shared = fields("rng");
  };
  struct Out { View sample, index, probs; static constexpr auto names = fields("sample", "index", "probs"); };
  struct OutGrad { View sample, probs; static constexpr auto names = fields("sample", "probs"); };
  struct Grad { View logits; static constexpr auto names = fields("logits"); };

  Shapes infer(const In& in) const {
    CHECK(unimix >= 0 && unimix <= 1, "categorical: unimix must be in [0,1], got {}", unimix);
    CHECK(in.logits.rank() >= 2 && in.logits.sizes[-1] > 0,
          "categorical: logits must be (B, ..., K) with K > 0, got {}", to_string(in.logits));
    expect_float(in.logits, "categorical: logits");
    CHECK(in.logits.packed(1), "categorical: logits must be packed but for axis 0");
    if (!argmax || in.rng)
      CHECK(in.rng.dtype == DType::u32 && in.rng.sizes == Sizes{kRngWords}, "categorical: rng must be u32({}), got {}",
            kRngWords, to_string(in.rng));
    Sizes distributions = in.logits.sizes;
    distributions.rank--;
    return {{in.logits.dtype, in.logits.sizes}, {DType::i32, distributions}, {DType::f32, in.logits.sizes}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // s is off by x - max, at most 12 with these logits, den's row sum and 3 roundings, the sum of s d by as much again;
  // the difference loses no more than 1 - s of the terms, at least a quarter here.
  double gradient_k(const In& in) const { return 4 * (2 * row_depth(in.logits.sizes[-1]) + 2 * 15 + 3); }
  Cost cost(const In& in) const { return traffic((argmax ? 8.0 : 9.0) * double(in.logits.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {  // reads logits, dsample, dprobs
    const double n = double(in.logits.count()), bytes = double(in.logits.bytes());
    return {11 * n, 2 * bytes + 4 * n, bytes};
  }

  static std::vector<Case<Categorical>> cases() {
    const Input rng = values({kRngWords}, {2596069104, 305419896, 7, 0}).as(DType::u32);
    // The harness's differences see no gradient through a sample, hence probs alone where gradients are compared; both
    // go the same way, which kernels_distributions_test shows.
    auto make = [&](Categorical op, std::string_view what, Input logits, int samples, bool bench = false) {
      const std::string name = format("{}{},{},unimix={}{}{}", what, to_string(logits.sizes), name_of(logits.dtype),
                                      op.unimix, op.argmax ? ",argmax" : "", op.straight_through ? "" : ",probs");
      return Case<Categorical>(op, {.name = name,
                                    .in = {std::move(logits), op.argmax ? absent() : rng},
                                    .samples = samples,
                                    .gradient = !op.straight_through,
                                    .bench = bench});
    };
    std::vector<Case<Categorical>> list;
    for (DType t : {DType::f32, DType::bf16})
      for (bool through : {false, true}) {
        list.push_back(make({0.01f, false, through}, "", normal({5, 33}).as(t), 5));
        list.push_back(make({0.01f, false, through}, "", normal({3, 7, 5}).as(t), 3));
        list.push_back(make({0.01f, true, through}, "", normal({4, 3, 31}).as(t), 4));
        list.push_back(make({0.01f, false, through}, "strided,", normal({6, 31}).as(t).padded(5), 6));
      }
    list.push_back(make({0, false, false}, "", normal({4, 8, 16}), 4));
    list.push_back(make({0.5f, false, false}, "", normal({2, 200, 7}), 2));  // more than one run of random numbers
    list.push_back(make({1, false, true}, "", normal({4, 9}), 4));
    list.push_back(make({0.01f, false, true}, "", normal({5, 1}), 5));
    list.push_back(make({0.01f, false, false}, "empty,", normal({0, 3, 5}), 1));
    list.push_back(make({0, false, true}, "adversarial,", adversarial({6, 40}), 6));
    list.push_back(make({0.01f, true, true}, "adversarial,", adversarial({6, 40}), 6));
    const double inf = std::numeric_limits<double>::infinity();
    for (bool argmax : {false, true})
      list.push_back(make({0, argmax, true}, "edges,",
                          values({6, 5}, {-inf, 0, -inf, 0, -inf, -0.0, 0, -0.0, 0, -1, -inf, -inf, 3, -inf, -inf}),
                          6));
    list.push_back(make({0.01f, false, true}, "", normal({1024, 32, 32}), 1, true));
    list.push_back(make({0.01f, false, true}, "", normal({1024, 32, 48}), 1, true));
    return list;
  }
};

}  // namespace dr
