#pragma once
// Cosines and sines of rotary embedding over several position axes (frame, row, column), each of which owns a share of
// the D/2 frequencies.
//
//   cos[r,j] = cos(angle[r,j]),  sin[r,j] = sin(angle[r,j]),  angle[r,j] = position[r,a] * omega[j]
//   omega[j] = base^(-i / share[a]),  j = share[0] + .. + share[a-1] + i,  0 <= i < share[a]
//
//   position (..,A) i32, packed, |position| <= 2^24    cos, sin (.., D/2) f32, D/2 = the sum of the A shares
// Order: in f32, each operation rounded once: omega = exp(-(float(i) / float(share)) * log(base)), the exponential and
//   the logarithm correctly rounded (kernels/core/host_math.h); angle = float(position) * omega; cos and sin of that
//   f32 angle correctly rounded.
// No gradient. Throws if A is not the number of shares, or a share or base is not positive.
// Source: Su et al. 2021, arXiv:2104.09864; a share of the frequencies per axis as in Heo et al. 2024,
//   arXiv:2403.13298.

#include "kernels/core/op.h"

namespace dr {

struct RotaryTable {
  static constexpr std::string_view name = "rotary_table";
  static constexpr int kMaxAxes = 4;
  std::array<int, kMaxAxes> share{};  // frequencies of each axis; 0 behind the last
  float base = 10000;

  struct In { View position; static constexpr auto names = fields("position"); };
  struct Out { View cos, sin; static constexpr auto names = fields("cos", "sin"); };

  int axes() const {
    int n = 0;
    while (n < kMaxAxes && share[size_t(n)] > 0) n++;
    return n;
  }
  int64_t frequencies() const {
    int64_t n = 0;
    for (int s : share) n += s;
    return n;
  }
  // omega[j] for all frequencies, in f32 as the contract has it.
  std::vector<float> omega() const;

  Shapes infer(const In& in) const {
    CHECK(base > 0, "rotary_table: base {} is not positive", base);
    for (int a = axes(); a < kMaxAxes; a++)
      CHECK(share[size_t(a)] == 0, "rotary_table: share {} of axis {} stands behind an empty one or is negative",
            share[size_t(a)], a);
    CHECK(in.position.rank() >= 2 && in.position.dtype == DType::i32 && in.position.packed(),
          "rotary_table: position must be packed i32 (..,A), got {}", to_string(in.position));
    CHECK(in.position.sizes[-1] == axes(), "rotary_table: position {} has {} axes, there are {} shares",
          to_string(in.position), in.position.sizes[-1], axes());
    Sizes out = in.position.sizes;
    out[-1] = frequencies();
    return {{DType::f32, out}, {DType::f32, out}};
  }
  size_t scratch_bytes(const In&, int) const { return 0; }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // A product, a cosine and a sine.
  Cost cost(const In& in) const {
    return traffic(3.0 * double(in.position.count()) / std::max(axes(), 1) * double(frequencies()), in, infer(in));
  }

  static std::vector<Case<RotaryTable>> cases() {
    auto make = [](std::array<int, kMaxAxes> share, Sizes rows, int samples, int64_t low, int64_t high,
                   float base = 10000) {
      const RotaryTable op{.share = share, .base = base};
      std::string name = "rows=" + to_string(rows) + ",shares=";
      for (int a = 0; a < op.axes(); a++) name += (a ? "+" : "") + std::to_string(share[size_t(a)]);
      rows.d[rows.rank++] = op.axes();
      return Case<RotaryTable>(op, {.name = format("{},base={},to={}", name, base, high),
                                    .in = {integers(rows, low, high)},
                                    .samples = samples});
    };
    std::vector<Case<RotaryTable>> list;
    list.push_back(make({8, 12, 12}, {2, 33}, 2, 0, 49));
    list.push_back(make({32}, {7}, 7, 0, 2047));
    list.push_back(make({1, 5, 7, 31}, {3, 5}, 3, -40, 40, 100));
    list.push_back(make({33}, {5}, 5, -(1 << 24), 1 << 24, 1e6f));
    list.push_back(make({1}, {1}, 1, 1, 1));
    list.push_back(make({16, 16}, {0}, 1, 0, 1));
    list.push_back(make({8, 12, 12}, {16, 1920}, 1, 0, 49));
    list.back().bench = true;
    return list;
  }
};

}  // namespace dr
