#pragma once
// The softmax of one row, which a group of 32 lanes takes, as core/softmax_row.h has it for the CPU: a row is given as
// at(i) -> float, lane l reading elements l, l + 32, ... Last include of a `.cu`, as gpu.h.

#include <limits>

#include "kernels/core/gpu_rows.h"
#include "kernels/core/math.h"

namespace dr::DR_BACKEND {

// The largest element, for every lane: +0 where that is a zero, NaN if any is, -inf for none.
template <class At>
DR_DEVICE float row_max(int64_t count, const At& at) {
  float best = -std::numeric_limits<float>::infinity();
  bool nan = false;
  for (int64_t i = lane_index(); i < count; i += kGroup) {
    const float x = at(i);
    best = x > best ? x : best;
    nan |= x != x;
  }
  for (int offset = 16; offset > 0; offset /= 2) {
    const float other = shuffle_xor(best, offset);
    best = other > best ? other : best;
  }
  return any(nan) ? std::numeric_limits<float>::quiet_NaN() : best + 0.f;
}

// e(x) = exp(x - max) and its share of den, the canonical row sum of all e.
struct SoftmaxRow {
  float max, den;
  DR_DEVICE float e(float x) const { return exp(x - max); }
  DR_DEVICE float share(float x) const { return e(x) / den; }
};
// store(i, e) takes each e, in the lane that gave the element.
template <class At, class Store>
DR_DEVICE SoftmaxRow softmax_row(int64_t count, const At& at, const Store& store) {
  SoftmaxRow row{row_max(count, at), 0};
  row.den = row_reduce(count, [&](float& acc, int64_t i) {
    const float e = row.e(at(i));
    store(i, e);
    acc = acc + e;
  });
  return row;
}
template <class At>
DR_DEVICE SoftmaxRow softmax_row(int64_t count, const At& at) {
  return softmax_row(count, at, [](int64_t, float) {});
}
template <class T>
DR_DEVICE SoftmaxRow softmax_of(const T* x, int64_t count) {
  return softmax_row(count, [x](int64_t i) { return load1(x + i); });
}

}  // namespace dr::DR_BACKEND
