#include <cstring>

#include "kernels/concat/concat.h"

namespace dr {

// Element by element, each at its own index.
void Concat::reference(const In& in, const Out& out, const Out& bound) const {
  const int rank = out.y.rank(), a = axis < 0 ? axis + rank : axis;
  int64_t shift = 0;
  for (const View* x : views(in)) {
    if (!x->present()) continue;
    const size_t width = size_of(x->dtype);
    for (int64_t e = 0; e < x->count(); e++) {
      int64_t from = 0, to = 0, rest = e;
      for (int i = rank - 1; i >= 0; i--) {
        const int64_t index = rest % x->size(i);
        rest /= x->size(i);
        from += index * x->stride(i);
        to += (index + (i == a ? shift : 0)) * out.y.stride(i);
      }
      std::memcpy(static_cast<char*>(out.y.data) + size_t(to) * width,
                  static_cast<const char*>(x->data) + size_t(from) * width, width);
      bound.y.as<double>()[to] = 0;  // a copy
    }
    shift += x->size(a);
  }
}

}  // namespace dr
