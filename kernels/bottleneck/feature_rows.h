#pragma once
// A call of bottleneck seen as rows of `cols` elements: the features of one vector where they are normalised, else as
// long as they lie without a gap. Row r of x begins at sample r / per_sample. For calls with elements.

#include "kernels/bottleneck/bottleneck.h"

namespace dr {

struct FeatureRows {
  int64_t rows, cols, per_sample;
  explicit FeatureRows(const GaussianBottleneck::In& in) {
    const int64_t samples = in.x.size(0), sample = in.x.count() / samples;
    cols = in.mean ? in.x.sizes[-1] : in.x.packed() ? in.x.count() : sample;
    per_sample = cols <= sample ? sample / cols : 1;
    rows = in.x.count() / cols;
  }
  // Where row r of a tensor begins whose samples lie `stride` elements apart.
  constexpr int64_t offset(int64_t stride, int64_t r) const { return r / per_sample * stride + r % per_sample * cols; }
};

}  // namespace dr
