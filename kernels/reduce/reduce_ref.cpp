#include <algorithm>
#include <cmath>

#include "kernels/core/chain_depth.h"
#include "kernels/reduce/reduce.h"

namespace dr {

void Reduce::reference(const In& in, const Out& out, const Out& bound) const {
  const int first = axis < 0 ? axis + in.x.rank() : axis, last = first + axes;
  int64_t outer = 1, n = 1, inner = 1;
  for (int i = 0; i < in.x.rank(); i++) (i < first ? outer : i < last ? n : inner) *= in.x.size(i);
  const double* x = in.x.as<double>();
  // What one term goes through. Rows: the additions of a lane, five of the butterfly, then the tree; columns: a chain.
  double depth = chain_depth(n);
  if (last == in.x.rank()) {
    depth = double(std::min<int64_t>(n, 4096) + 31) / 32 + 5;
    for (int64_t blocks = (n + 4095) / 4096; blocks > 1; blocks = (blocks + 1) / 2) depth++;
  }
  for (int64_t o = 0; o < outer; o++)
    for (int64_t c = 0; c < inner; c++) {
      const int64_t at = o * inner + c;
      auto element = [&](int64_t i) { return x[(o * n + i) * inner + c]; };
      if (kind == ReduceKind::sum || kind == ReduceKind::mean) {
        double sum = 0, magnitude = 0;
        for (int64_t i = 0; i < n; i++) sum += element(i), magnitude += std::fabs(element(i));
        const double divisor = kind == ReduceKind::mean ? double(n) : 1;
        out.y.as<double>()[at] = sum / divisor;
        bound.y.as<double>()[at] = (depth * magnitude + std::fabs(sum)) / divisor;  // a quotient more
        continue;
      }
      // Comes before: greater or less; of equal numbers -0 is the less; a NaN before all.
      auto before = [&](double a, double b) {
        if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && !std::isnan(b);
        if (a == b) return std::signbit(a) != std::signbit(b) && std::signbit(a) == (kind == ReduceKind::min);
        return kind == ReduceKind::max ? a > b : a < b;
      };
      int64_t best = 0;
      for (int64_t i = 1; i < n; i++)
        if (before(element(i), element(best))) best = i;
      out.y.as<double>()[at] = element(best);
      bound.y.as<double>()[at] = 0;
      out.index.as<int32_t>()[at] = int32_t(best);
    }
}

}  // namespace dr
