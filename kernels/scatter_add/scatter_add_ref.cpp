#include <cmath>

#include "kernels/core/chain_depth.h"
#include "kernels/scatter_add/scatter_add.h"

namespace dr {

// Destination by destination, over all sources.
void ScatterAdd::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t batch = in.x.size(0), sources = in.x.size(1);
  int64_t elements = 1;
  for (int i = 2; i < in.x.rank(); i++) elements *= in.x.size(i);
  for (int64_t b = 0; b < batch; b++)
    for (int64_t n = 0; n < rows; n++)
      for (int64_t c = 0; c < elements; c++) {
        const int64_t at = (b * rows + n) * elements + c;
        double sum = 0, magnitude = 0;
        int64_t wrapped = 0, terms = 0;
        for (int64_t m = 0; m < sources; m++) {
          if ((in.index.rank() == 1 ? in.index.at<int32_t>(m) : in.index.at<int32_t>(b, m)) != n) continue;
          const int64_t from = (b * sources + m) * elements + c;
          terms++;
          if (in.x.dtype == DType::i32) wrapped += in.x.as<int32_t>()[from];
          else if (in.x.dtype == DType::u8) wrapped += in.x.as<uint8_t>()[from];
          else sum += in.x.as<double>()[from], magnitude += std::fabs(in.x.as<double>()[from]);
        }
        bound.y.as<double>()[at] = chain_depth(terms) * magnitude;
        if (in.x.dtype == DType::i32) out.y.as<int32_t>()[at] = int32_t(uint32_t(wrapped));
        else if (in.x.dtype == DType::u8) out.y.as<uint8_t>()[at] = uint8_t(wrapped);
        else out.y.as<double>()[at] = sum;
      }
}

}  // namespace dr
