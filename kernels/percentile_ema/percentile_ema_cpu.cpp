#include "kernels/percentile_ema/percentile_ema.h"

#include <algorithm>
#include <bit>

#include "kernels/core/simd.h"

namespace dr {
namespace DR_ISA {
namespace {

// Unsigned order of the result is the total order of the floats, and back.
DR_INLINE uint32_t ordered(float v) {
  const uint32_t b = std::bit_cast<uint32_t>(v);
  return b >> 31 ? ~b : b | 0x80000000u;
}
DR_INLINE float unordered(uint32_t key) { return std::bit_cast<float>(key >> 31 ? key & 0x7fffffffu : ~key); }

float percentile(uint32_t* keys, int64_t n, double q) {
  const double position = q * double(n - 1);
  const int64_t lower = std::min(int64_t(position), n - 1);
  std::nth_element(keys, keys + lower, keys + n);
  const float a = unordered(keys[lower]), fraction = float(position - double(lower));
  if (lower + 1 == n || fraction == 0) return a;
  const float b = unordered(*std::min_element(keys + lower + 1, keys + n));
  return fma(fraction, b - a, a);
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void PercentileEma::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t n = in.x.count();
  const float *x = in.x.as<float>(), *state = in.state.as<float>();
  float* next = out.state.as<float>();
  uint32_t* keys = ctx.scratch_as<uint32_t>(size_t(n));
  bool nan = false;
  for (int64_t i = 0; i < n; i++) nan |= x[i] != x[i], keys[i] = ordered(x[i]);
  const double wanted[2] = {low, high};
  for (int k = 0; k < 2; k++) {
    const float p = nan ? __builtin_nanf("") : n == 0 ? state[k] : percentile(keys, n, wanted[k]);
    next[k] = fma(rate, p - state[k], state[k]);
  }
  const float range = next[1] - next[0];
  *out.scale.as<float>() = range > least || range != range ? range : least;
}

}  // namespace dr
