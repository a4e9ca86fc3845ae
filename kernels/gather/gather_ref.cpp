#include <cstring>

#include "kernels/gather/gather.h"

namespace dr {

void Gather::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t batch = in.x.size(0), rows = in.x.size(1), indices = out.y.size(1);
  size_t bytes = size_of(in.x.dtype);
  for (int i = 2; i < in.x.rank(); i++) bytes *= size_t(in.x.size(i));
  std::memset(bound.y.data, 0, bound.y.bytes());  // a copy
  for (int64_t b = 0; b < batch; b++)
    for (int64_t m = 0; m < indices; m++) {
      const int32_t i = in.index.rank() == 1 ? in.index.at<int32_t>(m) : in.index.at<int32_t>(b, m);
      char* to = static_cast<char*>(out.y.data) + size_t(b * indices + m) * bytes;
      if (i < 0) std::memset(to, 0, bytes);
      else std::memcpy(to, static_cast<const char*>(in.x.data) + size_t(b * rows + i) * bytes, bytes);
    }
}

}  // namespace dr
