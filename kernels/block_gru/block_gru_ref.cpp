#include <cmath>

#include "kernels/block_gru/block_gru.h"
#include "kernels/gru_cell/gru_ref.h"

namespace dr {

void BlockGru::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t width = in.h.size(2), inner = in.x.size(2);
  for (int64_t r = 0; r < in.h.size(0); r++)
    for (int64_t g = 0; g < in.h.size(1); g++) {
      for (int64_t o = 0; o < 3 * width; o++) {
        double sum = in.bias ? in.bias.at<double>(g, o) : 0, magnitude = std::fabs(sum);
        for (int64_t i = 0; i < inner; i++) {
          sum += in.x.at<double>(r, g, i) * in.weight.at<double>(g, o, i);
          magnitude += std::fabs(in.x.at<double>(r, g, i) * in.weight.at<double>(g, o, i));
        }
        out.gates.at<double>(r, g, o) = sum;
        bound.gates.at<double>(r, g, o) = (chain_depth(inner) + 1) * magnitude;
      }
      auto gate = [&](const View& v, int k, int64_t i) { return v.at<double>(r, g, k * width + i); };
      for (int64_t i = 0; i < width; i++) {
        const GruReference y(in.h.at<double>(r, g, i), gate(out.gates, 0, i), gate(out.gates, 1, i),
                             gate(out.gates, 2, i), gate(bound.gates, 0, i), gate(bound.gates, 1, i),
                             gate(bound.gates, 2, i));
        out.h.at<double>(r, g, i) = y.value;
        bound.h.at<double>(r, g, i) = y.bound;
      }
    }
}

}  // namespace dr
