#pragma once
// The softmax of one row on a device, as core/softmax_row.h has it for the CPU: a group of 32 lanes gives a row's
// elements as at(i). Last include of a `.cu`, as gpu.h.

#include <limits>

#include "kernels/core/gpu_rows.h"
#include "kernels/core/math.h"

namespace dr::DR_BACKEND {

// The largest element: +0 where that is a zero, NaN if any is, -inf for none.
template <class At>
DR_DEVICE float row_max(int64_t count, At&& at) {
  float best = -std::numeric_limits<float>::infinity();
  bool nan = false;
  for (int64_t i = lane_index(); i < count; i += kGroup) {
    const float x = at(i);
    best = x > best ? x : best;
    nan |= x != x;
  }
  for (int offset = kGroup / 2; offset > 0; offset /= 2) {
    const float other = shuffle_xor(best, offset);
    best = other > best ? other : best;
  }
  return any(nan) ? std::numeric_limits<float>::quiet_NaN() : best + 0.f;
}

// den[r] = canonical row sum of e[i] = exp(x[i] - max); store(i, e) takes each e, in the lane that gave the element.
struct SoftmaxRow {
  float max, den;
};
template <class At, class Store>
DR_DEVICE SoftmaxRow softmax_row(int64_t count, At&& at, Store&& store) {
  const float max = row_max(count, at);
  const float den = row_reduce(count, [&](float& acc, int64_t i) {
    const float e = exp(at(i) - max);
    store(i, e);
    acc += e;
  });
  return {max, den};
}
template <class At>
DR_DEVICE SoftmaxRow softmax_row(int64_t count, At&& at) {
  return softmax_row(count, at, [](int64_t, float) {});
}

}  // namespace dr::DR_BACKEND
