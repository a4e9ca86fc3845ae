#include "kernels/core/host_math.h"
#include "kernels/core/math.h"
#include "kernels/rotary_table/rotary_table.h"

#include "kernels/core/gpu_elementwise.h"

namespace dr {
namespace DR_BACKEND {
namespace {

// Correctly rounded functions are the host's, so each thread makes its own omega.
struct Entry {
  const int32_t* position;
  int64_t axes, half;
  int share[RotaryTable::kMaxAxes];
  float log_base;
  float *cosine, *sine;

  DR_DEVICE void operator()(int64_t at) const {
    const int64_t r = at / half;
    int i = int(at % half), a = 0, n = share[0];
    DR_UNROLL
    for (int next = 1; next < RotaryTable::kMaxAxes; next++)
      if (a == next - 1 && i >= n) i -= n, a = next, n = share[next];
    const float omega = exp(-(float(i) / float(n)) * log_base);
    const float angle = float(position[r * axes + a]) * omega;
    cosine[at] = cos(angle);
    sine[at] = sin(angle);
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void RotaryTable::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  Entry f{in.position.as<int32_t>(), axes(), frequencies(), {}, canonical::log(base), out.cos.as<float>(),
          out.sin.as<float>()};
  for (int a = 0; a < kMaxAxes; a++) f.share[a] = share[size_t(a)];
  for_each(ctx, out.cos.count(), f);
}

}  // namespace dr
