#include "kernels/percentile_ema/percentile_ema.h"

#include <algorithm>

#include "kernels/core/total_order.h"

namespace dr {
namespace DR_ISA {
namespace {

// Where a percentile lies among n values: between i and i + 1, or on i.
struct Position {
  int64_t i;
  float fraction;

  Position(float percent, int64_t n) {
    const double at = double(percent) * double(n - 1) / 100;  // exact where it is whole
    i = int64_t(at);
    fraction = float(at - double(i));
    if (i >= n - 1) i = n - 1, fraction = 0;
  }
};

// Puts the elements of a percentile into their places, given that none before `begin` belongs there.
float select(int32_t* keys, int64_t begin, int64_t n, Position p) {
  std::nth_element(keys + begin, keys + p.i, keys + n);
  const float v = from_order_key(keys[p.i]);
  if (p.fraction == 0) return v;
  const float next = from_order_key(*std::min_element(keys + p.i + 1, keys + n));
  return next == v ? v : fma(p.fraction, next - v, v);
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
  const float infinity = __builtin_inff();
  if (__builtin_fabsf(percentiles[0]) < infinity && __builtin_fabsf(percentiles[1]) < infinity)
    for (int k = 0; k < 2; k++) state[k] = fma(1.f - rate, state[k], rate * percentiles[k]);
  std::memcpy(out.state.as<float>(), state, sizeof state);
  const float range = state[1] - state[0];
  *out.scale.as<float>() = range < limit ? limit : range;  // a NaN in the state shows
}

}  // namespace dr
