#pragma once
// Random numbers: each element is a pure function of (seed, step, op id, global element index), see core/philox.h.
//
//   Distribution::bits          y = the 32 bits                        y u32
//   Distribution::uniform       y = a + (b - a) u,  u in [0, 1)        y f32|bf16
//   Distribution::normal        y = a + b z                            a: mean, b: deviation
//   Distribution::logit_normal  y = 1 / (1 + exp(-t)), t = a + b z     a, b: mean and deviation of the logit t
//   Distribution::bernoulli     y = u < a ? 1 : 0,  u in [0, 1)        a: probability
//
//   rng (4) u32: seed low, seed high, step, reserved (not read); shared by all samples
//   like: axis 0 counts samples; y takes its shape and dtype. Its values are not read, so it may have any strides, and
//     the tensor that y is later combined with will do.
//   y: packed
// The element index is first_sample * (elements per sample) + the position in y, and the op id is that of the call: a
//   slice of a batch, another rank or a recomputation gets the same numbers. All must agree on what a sample is.
// Order: z and u as stated in core/philox.h; uniform is fma(b - a, u, a); a + b z is fma(b, z, a); the logistic
//   function is e = exp(-|t|), correctly rounded, then (t < 0 ? e : 1) / (1 + e), which never overflows. bf16 is
//   rounded once at the end. A uniform may round up to b.
// Throws unless like has samples along axis 0, dtype u32 for bits and a floating one otherwise, a <= b for uniform,
//   b >= 0 for the normals, 0 <= a <= 1 for bernoulli.

#include "kernels/core/op.h"
#include "kernels/core/philox.h"

namespace dr {

enum class Distribution : uint8_t { bits, uniform, normal, logit_normal, bernoulli };

struct PhiloxFill {
  static constexpr std::string_view name = "philox_fill";
  Distribution distribution = Distribution::normal;
  float a = 0, b = 1;

  struct In {
    View rng, like;
    static constexpr auto names = fields("rng", "like");
    static constexpr auto shared = fields("rng");
  };
  struct Out { View y; static constexpr auto names = fields("y"); };

  Shapes infer(const In& in) const {
    CHECK(in.rng.dtype == DType::u32 && in.rng.sizes == Sizes{kRngWords}, "philox_fill: rng must be u32({}), got {}",
          kRngWords, to_string(in.rng));
    CHECK(in.like.rank() >= 1, "philox_fill: like must have samples along axis 0, got {}", to_string(in.like));
    if (distribution == Distribution::bits)
      CHECK(in.like.dtype == DType::u32, "philox_fill: like must be u32 for bits, got {}", to_string(in.like));
    else
      expect_float(in.like, "philox_fill: like");
    if (distribution == Distribution::uniform) CHECK(a <= b, "philox_fill: uniform needs a <= b, got a={}, b={}", a, b);
    if (distribution == Distribution::normal || distribution == Distribution::logit_normal)
      CHECK(b >= 0, "philox_fill: the deviation b must not be negative, got {}", b);
    if (distribution == Distribution::bernoulli)
      CHECK(a >= 0 && a <= 1, "philox_fill: the probability a must be in [0,1], got {}", a);
    return {{in.like.dtype, in.like.sizes}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // Nothing is read but 16 bytes. Philox: 15 operations per element; a normal: half a logarithm, root, cosine and sine.
  Cost cost(const In& in) const {
    const double n = double(in.like.count());
    const double per_element = distribution == Distribution::bits           ? 15
                               : distribution == Distribution::logit_normal ? 23
                                                                            : 19;
    return {per_element * n, double(in.rng.bytes()), double(in.like.bytes())};
  }

  static std::vector<Case<PhiloxFill>> cases() {
    struct Kind { const char* name; PhiloxFill op; };
    const Kind kinds[] = {{"uniform", {Distribution::uniform, -0.3f, 1.1f}},
                          {"normal", {Distribution::normal, 0, 1}},
                          {"normal_shifted", {Distribution::normal, 0.5f, 2}},
                          {"logit_normal", {Distribution::logit_normal, 0, 1}},
                          {"bernoulli", {Distribution::bernoulli, 0.3f, 0}}};
    const Input rng = values({kRngWords}, {305419896, 2596069104, 41, 0}).as(DType::u32);
    auto make = [&](const char* kind, PhiloxFill op, Sizes s, DType t, int samples, bool bench = false) {
      return Case<PhiloxFill>(op, {.name = format("{},{}{}", kind, to_string(s), t == DType::bf16 ? ",bf16" : ""),
                                   .in = {rng, normal(s).as(t)},
                                   .samples = samples,
                                   .bench = bench});
    };
    std::vector<Case<PhiloxFill>> list;
    const PhiloxFill bits{Distribution::bits};
    for (Sizes s : {Sizes{5, 33}, Sizes{3, 7, 31}, Sizes{2, 256}})
      list.push_back(make("bits", bits, s, DType::u32, int(s[0])));
    for (const Kind& k : kinds) {
      list.push_back(make(k.name, k.op, {5, 33}, DType::f32, 5));
      list.push_back(make(k.name, k.op, {2, 3, 512}, DType::f32, 2));
      list.push_back(make(k.name, k.op, {3, 129}, DType::bf16, 3));
    }
    list.push_back(make("normal", {}, {7, 1}, DType::f32, 7));
    list.push_back(make("normal", {}, {2, 20001}, DType::f32, 2));  // several pieces of work
    list.push_back(make("normal", {}, {0, 4}, DType::f32, 1));
    list.push_back(make("bernoulli_always", {Distribution::bernoulli, 1, 0}, {2, 64}, DType::f32, 2));
    list.push_back(make("logit_normal_wide", {Distribution::logit_normal, -20, 30}, {2, 64}, DType::f32, 2));
    for (const Kind& k : {kinds[0], kinds[1], kinds[3]})
      list.push_back(make(k.name, k.op, {64, 262144}, DType::f32, 1, true));
    list.push_back(make("bits", bits, {64, 262144}, DType::u32, 1, true));
    return list;
  }
};

}  // namespace dr
