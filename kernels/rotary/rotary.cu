#include "kernels/rotary/rotary.h"
#include "kernels/rotary/rotate.h"

#include "kernels/core/gpu_runs.h"
#include "kernels/rotary/gpu_heads.h"

namespace dr {
namespace DR_BACKEND {
namespace {

template <class T>
struct RotatePairs {
  Heads<const T> x;
  Heads<const float> cos, sin;
  Heads<T> y;
  HeadCount at;
  int64_t half;
  bool back;

  DR_DEVICE void operator()(int64_t r, int64_t i, int n) const {
    const HeadAt head = at(r);
    const T* const from = x.row(head) + i;
    const Run c = load_run(cos.row(head) + i, n), s = load_run(sin.row(head) + i, n);
    Run first = load_run(from, n), second = load_run(from + half, n);
    DR_UNROLL
    for (int j = 0; j < kRun; j++) {
      const Pair p = rotate({first[j], second[j]}, c[j], back ? -s[j] : s[j]);
      first[j] = p.first, second[j] = p.second;
    }
    T* const to = y.row(head) + i;
    store_run(to, first, n);
    store_run(to + half, second, n);
  }
};

template <class T>
void rotate_heads(const Context& ctx, const View& x, const View& cos, const View& sin, bool back, const View& y) {
  const int64_t half = x.size(3) / 2;
  for_runs(ctx, x.size(0) * x.size(1) * x.size(2), half,
           RotatePairs<T>{heads_of<const T>(x), heads_of<const float>(cos), heads_of<const float>(sin), heads_of<T>(y),
                          HeadCount(x), half, back});
}

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void Rotary::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(in.x.dtype, [&]<class T>(T*) { rotate_heads<T>(ctx, in.x, in.cos, in.sin, false, out.y); });
}

template <>
void Rotary::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  if (!grad.x) return;
  with_float_type(in.x.dtype, [&]<class T>(T*) { rotate_heads<T>(ctx, dy.y, in.cos, in.sin, true, grad.x); });
}

}  // namespace dr
