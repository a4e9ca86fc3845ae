#include "kernels/percentile_ema/percentile_ema.h"

#include <algorithm>

#include "kernels/percentile_ema/percentile_ema_math.h"

#include "kernels/core/total_order.h"

namespace dr {
namespace DR_ISA {
namespace {

// Puts the elements of a percentile into their places, given that none before `begin` belongs there.
float select(int32_t* keys, int64_t begin, int64_t n, Position p) {
  std::nth_element(keys + begin, keys + p.i, keys + n);
  const float v = from_order_key(keys[p.i]);
  if (p.fraction == 0) return v;
  return percentile_between(v, from_order_key(*std::min_element(keys + p.i + 1, keys + n)), p.fraction);
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void PercentileEma::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t n = in.values.count();
  int32_t* keys = ctx.scratch_as<int32_t>(size_t(n));
  ctx.parallel(n, 16384, [&](int64_t begin, int64_t end) {
    for_vectors(end - begin, [&](int64_t i, auto m) {
      const i32v key = order_key(load_n(in.values.as<float>() + begin + i, m));
      std::memcpy(keys + begin + i, &key, size_t(m) * sizeof(int32_t));
    });
  });
  float* const percentiles = out.percentiles.as<float>();
  if (std::find(keys, keys + n, kNanKey) != keys + n) {
    percentiles[0] = percentiles[1] = from_order_key(kNanKey);
  } else {
    const Position first(low, n), second(high, n);
    percentiles[0] = select(keys, 0, n, first);
    percentiles[1] = select(keys, first.i, n, second);  // low <= high
  }
  float state[2] = {in.state.as<float>()[0], in.state.as<float>()[1]};
  *out.scale.as<float>() = take_up_percentiles(*this, percentiles, state);
  std::memcpy(out.state.as<float>(), state, sizeof state);
}

}  // namespace dr
