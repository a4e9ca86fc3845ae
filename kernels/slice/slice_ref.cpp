#include <cstring>

#include "kernels/slice/slice.h"

namespace dr {

// Element by element, each at its own index.
void Slice::reference(const In& in, const Out& out, const Out& bound) const {
  const int rank = out.y.rank(), a = axis < 0 ? axis + rank : axis;
  const size_t width = size_of(in.x.dtype);
  for (int64_t e = 0; e < out.y.count(); e++) {
    int64_t from = 0, rest = e;
    for (int i = rank - 1; i >= 0; i--) {
      const int64_t index = rest % out.y.size(i);
      rest /= out.y.size(i);
      from += (i == a ? begin + index * step : index) * in.x.stride(i);
    }
    std::memcpy(static_cast<char*>(out.y.data) + size_t(e) * width,
                static_cast<const char*>(in.x.data) + size_t(from) * width, width);
    bound.y.as<double>()[e] = 0;  // a copy
  }
}

}  // namespace dr
