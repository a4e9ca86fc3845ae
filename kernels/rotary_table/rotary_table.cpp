#include "kernels/rotary_table/rotary_table.h"

#include "kernels/core/host_math.h"

namespace dr {

std::vector<float> RotaryTable::omega() const {
  std::vector<float> list;
  const float log_base = canonical::log(base);
  for (int n : share)
    for (int i = 0; i < n; i++) list.push_back(canonical::exp(-(float(i) / float(n)) * log_base));
  return list;
}

}  // namespace dr
