#pragma once
// The bins of DreamerV3's heads for rewards and values: symexp of evenly spaced numbers from -limit to limit.

#include <vector>

#include "kernels/core/check.h"
#include "kernels/core/host_math.h"
#include "kernels/core/op.h"

namespace dr {

// Ascending, the middle one +0, and exactly symmetric: bins[m + i] = -bins[m - i] = expm1((limit i) / m), m the middle,
// each operation rounded to f32. Throws if count is not odd and at least 3, or if the last bin is not finite.
inline std::vector<float> symexp_bins(int count = 255, float limit = 20) {
  CHECK(count >= 3 && count % 2 == 1, "symexp_bins: an odd number of bins, at least 3, is accepted; got {}", count);
  CHECK(limit > 0 && limit < 88, "symexp_bins: a limit in (0, 88) is accepted; got {}", limit);
  const int middle = count / 2;
  std::vector<float> bins(size_t(count), 0.f);
  for (int i = 1; i <= middle; i++) {
    const float bin = canonical::expm1(limit * float(i) / float(middle));
    bins[size_t(middle + i)] = bin;
    bins[size_t(middle - i)] = -bin;
  }
  return bins;
}

// The same as an input of a case.
inline Input symexp_input(int count, float limit) {
  const std::vector<float> bins = symexp_bins(count, limit);
  return values({count}, std::vector<double>(bins.begin(), bins.end()));
}

}  // namespace dr
