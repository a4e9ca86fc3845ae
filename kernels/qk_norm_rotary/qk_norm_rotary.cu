#include "kernels/qk_norm_rotary/qk_norm_rotary.h"
#include "kernels/core/math.h"
#include "kernels/rotary/rotate.h"

#include "kernels/core/gpu_rows.h"
#include "kernels/rotary/gpu_heads.h"

namespace dr {
namespace DR_BACKEND {
namespace {

struct Tables {
  Heads<const float> cos, sin;  // absent: no rotation
};
Tables tables_of(const QkNormRotary::In& in) { return {heads_of<const float>(in.cos), heads_of<const float>(in.sin)}; }
const float* data_or_null(const View& v) { return v ? v.as<float>() : nullptr; }

template <class T>
struct ForwardHead {
  Heads<const T> x;
  Heads<T> y;
  Tables tables;
  HeadCount count;
  int64_t width;
  float eps;
  const float* weight;  // null: 1
  float* rstd;

  DR_DEVICE void operator()(int64_t r) const {
    const HeadAt at = count(r);
    const T* const from = x.row(at);
    T* const to = y.row(at);
    const float square = row_reduce(width, [&](float& acc, int64_t i) {
      const float v = load1(from + i);
      acc = fma(v, v, acc);
    });
    const float rs = rsqrt(square / float(width) + eps);
    if (lane_index() == 0) rstd[r] = rs;
    const auto normed = [&](int64_t i) { return fma(load1(from + i) * rs, weight ? weight[i] : 1.f, 0.f); };
    const float *const c = tables.cos.row(at), *const s = tables.sin.row(at);
    if (!c) {
      for (int64_t i = lane_index(); i < width; i += kGroup) store1(to + i, normed(i));
      return;
    }
    const int64_t half = width / 2;
    for (int64_t i = lane_index(); i < half; i += kGroup) {
      const Pair p = rotate({normed(i), normed(half + i)}, c[i], s[i]);
      store1(to + i, p.first);
      store1(to + half + i, p.second);
    }
  }
};

// One of q and k in backward.
template <class T>
struct Side {
  Heads<const T> x, dy;
  const float *rstd, *weight;  // weight null: 1
  Tables tables;
  HeadCount count;
  int64_t width;

  Side(const View& x_, const View& rstd_, const View& weight_, const View& dy_, const QkNormRotary::In& in)
      : x(heads_of<const T>(x_)), dy(heads_of<const T>(dy_)), rstd(rstd_.as<float>()), weight(data_or_null(weight_)),
        tables(tables_of(in)), count(x_), width(x_.size(3)) {}

  // Gradient of element i of the normalised head, before its rotation.
  struct Gradient {
    const T* dy;
    const float *cos, *sin;
    int64_t half;
    DR_DEVICE float operator()(int64_t i) const {
      if (!cos) return load1(dy + i);
      const int64_t pair = i < half ? i : i - half;
      const Pair p = rotate({load1(dy + pair), load1(dy + half + pair)}, cos[pair], -sin[pair]);
      return i < half ? p.first : p.second;
    }
  };
  DR_DEVICE Gradient gradient(const HeadAt& at) const {
    return {dy.row(at), tables.cos.row(at), tables.sin.row(at), width / 2};
  }
};

template <class T>
struct BackwardHead {
  Side<T> side;
  Heads<T> dx;

  DR_DEVICE void operator()(int64_t r) const {
    const HeadAt at = side.count(r);
    const T* const x = side.x.row(at);
    T* const to = dx.row(at);
    const auto g = side.gradient(at);
    const float rs = side.rstd[r], *const weight = side.weight;
    const float mean = row_reduce(side.width, [&](float& acc, int64_t i) {
      acc = fma(g(i) * (weight ? weight[i] : 1.f), load1(x + i) * rs, acc);
    }) / float(side.width);
    for (int64_t i = lane_index(); i < side.width; i += kGroup)
      store1(to + i, rs * fma(-(load1(x + i) * rs), mean, g(i) * (weight ? weight[i] : 1.f)));
  }
};
template <class T>
struct WeightGradient {
  Side<T> side;
  DR_DEVICE void operator()(int64_t r, int64_t c, float (&sums)[1]) const {
    const HeadAt at = side.count(r);
    sums[0] = fma(side.gradient(at)(c), load1(side.x.row(at) + c) * side.rstd[r], sums[0]);
  }
};

template <class T>
void backward_heads(const Context& ctx, const RowGroups& rows, const Side<T>& side, const View& dx, const View& dweight) {
  if (dx) for_rows(ctx, rows.groups * rows.rows, BackwardHead<T>{side, heads_of<T>(dx)});
  const View grads[] = {dweight};
  column_sums(ctx, rows, grads, WeightGradient<T>{side});
}

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void QkNormRotary::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(in.q.dtype, [&]<class T>(T*) {
    const auto run = [&](const View& x, const View& weight, const View& y, const View& rstd) {
      for_rows(ctx, groups(in, 1).rows,
               ForwardHead<T>{heads_of<const T>(x), heads_of<T>(y), tables_of(in), HeadCount(x), x.size(3), eps,
                              data_or_null(weight), rstd.as<float>()});
    };
    run(in.q, in.q_weight, out.q, out.q_rstd);
    run(in.k, in.k_weight, out.k, out.k_rstd);
  });
}

template <>
void QkNormRotary::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                      const Grad& grad) const {
  const RowGroups rows = groups(in, ctx.leaves);
  CHECK(ctx.leaves > 0 && rows.rows * ctx.leaves == groups(in, 1).rows,
        "qk_norm_rotary: {} rows do not divide into {} leaves", groups(in, 1).rows, ctx.leaves);
  with_float_type(in.q.dtype, [&]<class T>(T*) {
    backward_heads(ctx, rows, Side<T>(in.q, saved.q_rstd, in.q_weight, dy.q, in), grad.q, grad.q_weight);
    backward_heads(ctx, rows, Side<T>(in.k, saved.k_rstd, in.k_weight, dy.k, in), grad.k, grad.k_weight);
  });
}

}  // namespace dr
