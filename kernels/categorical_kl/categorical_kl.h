#pragma once
// Kullback-Leibler divergence of categorical distributions, summed over the groups of a row, with free nats.
//
//   kl[r] = sum_g sum_k P log(P / Q),   P = (1 - unimix) softmax(p[r,g]) + unimix / K,   Q likewise of q
//   loss[r] = max(free_nats, kl[r])
//
//   DreamerV3's pair of losses is this op twice: gradients to q alone (dynamics), and to p alone (representation). With
//   zeros for q, kl = log K - entropy(P).
//   p, q (R,G,K) f32|bf16 logits, both the same, packed but for axis 0, which may be strided
//   loss, kl (R) f32; kl is saved for backward and for reports
// Order: s = exp(p - max) / den, den the canonical row sum, P = fma(1 - unimix, s, unimix / K), L = log P - log Q;
//   canonical row sum over k of fma terms P L, of the classes with P > 0, then one over g of these. Where unimix is 0,
//   L is the difference of (x - max) - log den, so that a small P keeps its logarithm.
// backward: g = dloss where kl > free_nats, else 0; t = softmax(q), v = (1 - unimix) t / Q, 1 where unimix is 0;
//   dp = ((g (1 - unimix)) s) (L - sum of s L), 0 where s is;   dq = g fma(t, sum of P v, -(P v)), canonical row sums.
// A NaN stays a NaN. Deterministic, independent of R. Throws if K == 0, if unimix is not in [0, 1], or shapes differ.
// Source: Hafner et al. 2023, arXiv:2301.04104 (free bits of 1 nat, 1 % of uniform).

#include "kernels/core/op.h"
#include "kernels/core/row_blocks.h"

namespace dr {

struct CategoricalKl {
  static constexpr std::string_view name = "categorical_kl";
  float unimix = 0.01f, free_nats = 1;

  struct In { View p, q; static constexpr auto names = fields("p", "q"); };
  struct Out { View loss, kl; static constexpr auto names = fields("loss", "kl"); };
  struct OutGrad { View loss; static constexpr auto names = fields("loss"); };
  struct Grad { View p, q; static constexpr auto names = fields("p", "q"); };

  Shapes infer(const In& in) const {
    CHECK(unimix >= 0 && unimix <= 1, "categorical_kl: unimix must be in [0,1], got {}", unimix);
    CHECK(in.p.rank() == 3 && in.p.size(2) > 0, "categorical_kl: p must be (R,G,K) with K > 0, got {}",
          to_string(in.p));
    expect_float(in.p, "categorical_kl: p");
    expect_sizes(in.q, in.p.sizes, "categorical_kl: q");
    CHECK(in.q.dtype == in.p.dtype, "categorical_kl: p is {}, q {}: they must be of one type", to_string(in.p),
          to_string(in.q));
    CHECK(in.p.packed(1) && in.q.packed(1), "categorical_kl: p and q must be packed but for axis 0");
    const TensorSpec rows{DType::f32, {in.p.size(0)}};
    return {rows, rows};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  size_t device_scratch_bytes(const In& in) const {  // divergences
    return size_t(in.p.size(0) * in.p.size(1)) * sizeof(float);
  }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  double gradient_k(const In& in) const;  // from the data: see its definition
  Cost cost(const In& in) const { return traffic(17.0 * double(in.p.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {
    return {28.0 * double(in.p.count()), 2 * double(in.p.bytes()) + 8 * double(in.p.size(0)), 2 * double(in.p.bytes())};
  }

  static std::vector<Case<CategoricalKl>> cases() {
    auto make = [&](CategoricalKl op, Sizes s, DType t, double deviation, int samples, bool bench = false) {
      return Case<CategoricalKl>(op, {.name = format("{},{},unimix={},free={},deviation={}", to_string(s), name_of(t),
                                                     op.unimix, op.free_nats, deviation),
                                      .in = {normal(s, 0, deviation).as(t), normal(s, 0.5, deviation).as(t)},
                                      .samples = samples,
                                      .bench = bench});
    };
    std::vector<Case<CategoricalKl>> list;
    for (DType t : {DType::f32, DType::bf16})
      for (float unimix : {0.01f, 0.f}) {
        list.push_back(make({unimix, 1}, {5, 4, 7}, t, 1, 5));
        list.push_back(make({unimix, 1}, {3, 3, 33}, t, 1, 3));
        list.push_back(make({unimix, 1}, {12, 5, 5}, t, 0.5, 6));  // rows on both sides of a nat
      }
    list.push_back(make({0.01f, -1}, {4, 1, 31}, DType::f32, 1, 4));
    list.push_back(make({0.5f, 0.1f}, {4, 2, 16}, DType::f32, 2, 2));
    list.push_back(make({0.01f, 1}, {2, 33, 5}, DType::f32, 1, 2));
    list.push_back(make({0.01f, 1}, {0, 4, 5}, DType::f32, 1, 1));
    list.push_back(make({0.01f, 1}, {3, 0, 5}, DType::f32, 1, 3));
    Case<CategoricalKl> strided = make({0.01f, 1}, {4, 1, 31}, DType::f32, 2, 4);
    strided.name = "strided";
    for (Input& i : strided.in) i.pad = 3;
    list.push_back(strided);
    Case<CategoricalKl> one = make({0.01f, -1}, {3, 4, 1}, DType::f32, 1, 3);  // of one class: 0
    one.gradient = false;
    list.push_back(one);
    // Classes that cannot occur, in p and in both.
    const double inf = std::numeric_limits<double>::infinity();
    for (float unimix : {0.01f, 0.f})
      list.push_back(Case<CategoricalKl>(
          {unimix, 1}, {.name = format("impossible classes,unimix={}", unimix),
                        .in = {values({4, 2, 4}, {-inf, 1, 2, -inf, 0.5, -1, -inf, -inf}),
                               values({4, 2, 4}, {-inf, 0, -3, 2, 0.5, -1, -inf, 3})},
                        .samples = 4,
                        .gradient = false}));
    for (float unimix : {0.01f, 0.f})
      list.push_back(Case<CategoricalKl>({unimix, 1}, {.name = format("adversarial,unimix={}", unimix),
                                                       .in = {adversarial({6, 3, 40}), adversarial({6, 3, 40})},
                                                       .samples = 6,
                                                       .gradient = false}));
    list.push_back(make({0.01f, 1}, {1024, 32, 32}, DType::f32, 1, 1, true));
    return list;
  }
};

}  // namespace dr
