#pragma once
// The distributions of a call of categorical, for host and device code.

#include <bit>
#include <cstdint>

#include "kernels/core/view.h"

namespace dr {

// Number d has its logits at sample d / per_sample.
struct Distributions {
  int64_t count = 0, classes, per_sample = 1;
  explicit Distributions(const View& logits) : classes(logits.sizes[-1]) {
    for (int i = 1; i + 1 < logits.rank(); i++) per_sample *= logits.size(i);
    count = logits.size(0) * per_sample;
  }
  // Where they begin, samples lying `stride` elements apart.
  constexpr int64_t offset(int64_t stride, int64_t d) const {
    return d / per_sample * stride + d % per_sample * classes;
  }
};

// Integers in the total order of the floats.
constexpr int32_t logit_order(float x) {
  const int32_t b = std::bit_cast<int32_t>(x);
  return b ^ ((b >> 31) & INT32_MAX);
}

}  // namespace dr
