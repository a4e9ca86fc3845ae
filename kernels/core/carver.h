#pragma once
// Cuts scratch memory into buffers of whole cache lines.

#include <cstddef>
#include <cstdint>

namespace dr {

inline constexpr int64_t kLine = 16;  // floats of a cache line

constexpr int64_t whole_lines(int64_t floats) { return (floats + kLine - 1) / kLine * kLine; }

// Hands out pieces of a buffer; from null it only counts.
struct Carver {
  float* base = nullptr;
  int64_t used = 0;

  float* take(int64_t floats) {
    float* p = base ? base + used : nullptr;
    used += whole_lines(floats);
    return p;
  }
  size_t bytes() const { return size_t(used) * sizeof(float); }
};

}  // namespace dr
