#include <cmath>

#include "kernels/add/add.h"

namespace dr {

void Add::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t n = in.a.count();
  const auto at = [](const View& v, int64_t i) -> double& {  // element i in row-major order, any strides
    int64_t offset = 0;
    for (int axis = v.rank() - 1; axis >= 0; i /= v.size(axis), axis--) offset += i % v.size(axis) * v.stride(axis);
    return v.as<double>()[offset];
  };
  for (int64_t i = 0; i < n; i++) {
    at(out.z, i) = at(in.a, i) + at(in.b, i);
    at(bound.z, i) = std::fabs(at(in.a, i) + at(in.b, i));  // one rounding, of the sum
  }
}

}  // namespace dr
