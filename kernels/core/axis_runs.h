#pragma once
// The windows of a pooled image along one axis: which pixels each holds, and which of them hold a pixel.

#include <algorithm>
#include <cstdint>
#include <vector>

namespace dr {

// Windows over `size` pixels, in the order of their first pixel.
struct WindowAxis {
  int64_t size, count;  // pixels, windows
  int kernel, stride, padding;

  struct Run {
    int64_t begin, end;
    constexpr int64_t count() const { return end - begin; }
  };
  static constexpr Run run(int64_t begin, int64_t end) { return {begin, begin < end ? end : begin}; }

  // The pixels in the image of window o.
  constexpr Run window(int64_t o) const {
    const int64_t first = o * stride - padding, past = first + kernel;
    return run(first < 0 ? 0 : first, past < size ? past : size);
  }
  // The windows that hold pixel i.
  constexpr Run holders(int64_t i) const {
    const int64_t past = i + padding - kernel;  // a window that starts here, in the padded image, is just past
    const int64_t end = (i + padding) / stride + 1;
    return run(past < 0 ? 0 : past / stride + 1, end < count ? end : count);
  }
};

// For each result, the run of elements along one axis that it is made of.
struct AxisRuns {
  using Run = WindowAxis::Run;
  std::vector<Run> runs;
  int64_t longest = 0;

  void add(Run r) {
    runs.push_back(r);
    longest = std::max(longest, r.count());
  }
  int64_t size() const { return int64_t(runs.size()); }
  Run operator[](int64_t i) const { return runs[size_t(i)]; }

  static AxisRuns windows(const WindowAxis& axis) {
    AxisRuns r;
    for (int64_t o = 0; o < axis.count; o++) r.add(axis.window(o));
    return r;
  }
  static AxisRuns holders(const WindowAxis& axis) {
    AxisRuns r;
    for (int64_t i = 0; i < axis.size; i++) r.add(axis.holders(i));
    return r;
  }
};

}  // namespace dr
