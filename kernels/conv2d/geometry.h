#pragma once
// Which elements of an image a convolution and its gradient read, one axis at a time.

#include <vector>

#include "kernels/conv2d/conv2d.h"

namespace dr {

// Along one axis, place t of `count` reads image[t*step + offset[j]] for each tap j, +0 outside the image, in ascending
// place; its weight is at kernel[j], and what it makes goes to out_first + t*out_step.
struct AxisTaps {
  int64_t count = 0, step = 1;
  int64_t out_first = 0, out_step = 1;
  std::vector<int64_t> offset{}, kernel{};

  int64_t taps() const { return int64_t(offset.size()); }
};

// Any of h with any of w makes a phase, and the phases all places of the result; no phase has more places along an axis
// than the first.
struct Phases {
  std::vector<AxisTaps> h, w;
};

// y from x.
inline AxisTaps forward_taps(int64_t count, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation) {
  AxisTaps a{.count = count, .step = stride};
  for (int64_t k = 0; k < kernel; k++) a.offset.push_back(k * dilation - pad), a.kernel.push_back(k);
  return a;
}

// dx from dy, for the `size` elements of x that are `phase` modulo the stride: the taps k of the kernel, descending,
// with which such an element lies on the lattice of y.
inline AxisTaps gradient_taps(int64_t size, int64_t phase, int64_t kernel, int64_t stride, int64_t pad,
                              int64_t dilation) {
  AxisTaps a{.count = (size - phase + stride - 1) / stride, .out_first = phase, .out_step = stride};
  for (int64_t k = kernel - 1; k >= 0; k--) {
    const int64_t distance = phase + pad - k * dilation;
    if (distance % stride == 0) a.offset.push_back(distance / stride), a.kernel.push_back(k);
  }
  return a;
}

// dx from dy, all elements of x.
inline Phases gradient_phases(const Conv2d& op, const Sizes& x, const Sizes& weight) {
  Phases phases;
  for (int64_t p = 0; p < std::min<int64_t>(op.stride.h, x[1]); p++)
    phases.h.push_back(gradient_taps(x[1], p, weight[1], op.stride.h, op.padding.top, op.dilation.h));
  for (int64_t p = 0; p < std::min<int64_t>(op.stride.w, x[2]); p++)
    phases.w.push_back(gradient_taps(x[2], p, weight[2], op.stride.w, op.padding.left, op.dilation.w));
  return phases;
}

}  // namespace dr
