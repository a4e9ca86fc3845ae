#include "kernels/gru_cell/gru_cell.h"
#include "kernels/gru_cell/gru_ref.h"

namespace dr {

void GruCell::reference(const In& in, const Out& out, const Out& bound) const {
  const int64_t width = in.h.size(2);
  for (int64_t r = 0; r < in.h.size(0); r++)
    for (int64_t g = 0; g < in.h.size(1); g++)
      for (int64_t i = 0; i < width; i++) {
        const GruReference y(in.h.at<double>(r, g, i), in.gates.at<double>(r, g, i),
                             in.gates.at<double>(r, g, width + i), in.gates.at<double>(r, g, 2 * width + i));
        out.h.at<double>(r, g, i) = y.value;
        bound.h.at<double>(r, g, i) = y.bound;
      }
}

}  // namespace dr
