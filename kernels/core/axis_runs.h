#pragma once
// The windows of a pooled image along one axis: which pixels each holds, and which of them hold a pixel.

#include <algorithm>
#include <cstdint>
#include <vector>

namespace dr {

// For each result, the run of elements along one axis that it is made of.
struct AxisRuns {
  struct Run {
    int64_t begin, end;
    int64_t count() const { return end - begin; }
  };
  std::vector<Run> runs;
  int64_t longest = 0;

  void add(int64_t begin, int64_t end) {
    runs.push_back({begin, std::max(begin, end)});
    longest = std::max(longest, end - begin);
  }
  int64_t size() const { return int64_t(runs.size()); }
  Run operator[](int64_t i) const { return runs[size_t(i)]; }

  // The pixels in the image, `size` long, of each of `count` windows.
  static AxisRuns windows(int64_t size, int64_t count, int kernel, int stride, int padding) {
    AxisRuns r;
    for (int64_t o = 0; o < count; o++) {
      const int64_t first = o * stride - padding;
      r.add(std::max<int64_t>(0, first), std::min(size, first + kernel));
    }
    return r;
  }
  // The windows that hold each pixel.
  static AxisRuns holders(int64_t size, int64_t count, int kernel, int stride, int padding) {
    AxisRuns r;
    for (int64_t i = 0; i < size; i++) {
      const int64_t past = i + padding - kernel;  // a window that starts here, in the padded image, is just past
      r.add(past < 0 ? 0 : past / stride + 1, std::min(count, (i + padding) / stride + 1));
    }
    return r;
  }
};

}  // namespace dr
