#include "kernels/categorical_kl/categorical_kl.h"
#include "kernels/categorical_kl/divergence_math.h"

#include "kernels/core/gpu_row_loss.h"
#include "kernels/core/gpu_softmax_row.h"

namespace dr {
namespace DR_BACKEND {
namespace {

// One group of a row, p against q, which 32 lanes take.
template <class T>
struct Pair {
  const T *p, *q;
  int64_t classes;
  Unimix mix;
  SoftmaxRow a, b;
  float log_a, log_b;  // of their denominators, where pure_log_ratio is to have them

  DR_DEVICE Pair(const T* p_, const T* q_, int64_t classes_, const Unimix& mix_)
      : p(p_), q(q_), classes(classes_), mix(mix_), a(softmax_of(p, classes)), b(softmax_of(q, classes)),
        log_a(mix.uniform > 0 ? 0 : log(a.den)), log_b(mix.uniform > 0 ? 0 : log(b.den)) {}
  DR_DEVICE float s(int64_t i) const { return a.share(load1(p + i)); }
  DR_DEVICE float t(int64_t i) const { return b.share(load1(q + i)); }
  DR_DEVICE float log_ratio(int64_t i, float si) const {
    if (mix.uniform > 0) return mixed_log_ratio(mix, si, t(i));
    return pure_log_ratio(load1(p + i) - a.max, log_a, load1(q + i) - b.max, log_b);
  }

  DR_DEVICE float divergence() const {
    return row_reduce(classes, [&](float& acc, int64_t i) {
      const float si = s(i);
      acc = add_weighted(acc, mix(si), log_ratio(i, si));
    });
  }
  DR_DEVICE void gradient_p(float g, T* dp) const {
    const float mean = row_reduce(classes, [&](float& acc, int64_t i) {
      const float si = s(i);
      acc = add_weighted(acc, si, log_ratio(i, si));
    });
    for (int64_t i = lane_index(); i < classes; i += kGroup) {
      const float si = s(i);
      store1(dp + i, divergence_slope_p(mix, g, si, log_ratio(i, si), mean));
    }
  }
  DR_DEVICE void gradient_q(float g, T* dq) const {
    const float sum = row_reduce(classes, [&](float& acc, int64_t i) { acc = acc + divergence_flow(mix, s(i), t(i)); });
    for (int64_t i = lane_index(); i < classes; i += kGroup) {
      const float ti = t(i);
      store1(dq + i, divergence_slope_q(g, ti, divergence_flow(mix, s(i), ti), sum));
    }
  }
};

template <class T>
struct Pairs {
  RowsOf<const T> p, q;
  int64_t groups, classes;
  Unimix mix;
  DR_DEVICE Pair<T> operator()(int64_t r, int64_t group) const {
    return {p.row(r) + group * classes, q.row(r) + group * classes, classes, mix};
  }
};
template <class T>
Pairs<T> pairs_of(const CategoricalKl::In& in, float unimix) {
  const int64_t classes = in.p.size(2);
  return {rows_of<const T>(in.p), rows_of<const T>(in.q), in.p.size(1), classes, Unimix(unimix, classes)};
}

// divergence (R,G)
template <class T>
struct Divergence {
  Pairs<T> pairs;
  float* divergence;
  DR_DEVICE void operator()(int64_t i) const {
    const float d = pairs(i / pairs.groups, i % pairs.groups).divergence();
    if (lane_index() == 0) divergence[i] = d;
  }
};
struct Loss {
  const float* divergence;
  int64_t groups;
  float free_nats;
  float *kl, *loss;
  DR_DEVICE void operator()(int64_t r) const {
    const float sum = row_reduce(groups, [&](float& acc, int64_t i) { acc = acc + divergence[r * groups + i]; });
    if (lane_index() == 0) kl[r] = sum, loss[r] = at_least_free_nats(sum, free_nats);
  }
};

template <class T>
struct Gradient {
  Pairs<T> pairs;
  const float* kl;
  float free_nats;
  RowsOf<const float> dloss;
  RowsOf<T> dp, dq;  // data null: not wanted
  DR_DEVICE void operator()(int64_t i) const {
    const int64_t r = i / pairs.groups, group = i % pairs.groups, at = group * pairs.classes;
    T *const p = dp.data ? dp.row(r) + at : nullptr, *const q = dq.data ? dq.row(r) + at : nullptr;
    if (kl[r] <= free_nats) {
      for (int64_t c = lane_index(); c < pairs.classes; c += kGroup) {
        if (p) store1(p + c, 0);
        if (q) store1(q + c, 0);
      }
      return;
    }
    const Pair<T> pair = pairs(r, group);
    const float g = *dloss.row(r);
    if (p) pair.gradient_p(g, p);
    if (q) pair.gradient_q(g, q);
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void CategoricalKl::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t rows = in.p.size(0), groups = in.p.size(1);
  float* const divergence = ctx.scratch_as<float>(size_t(rows * groups));
  with_float_type(in.p.dtype, [&]<class T>(T*) {
    for_rows(ctx, rows * groups, Divergence<T>{pairs_of<T>(in, unimix), divergence});
  });
  for_rows(ctx, rows, Loss{divergence, groups, free_nats, out.kl.as<float>(), out.loss.as<float>()});
}

template <>
void CategoricalKl::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dout,
                                       const Grad& grad) const {
  if (!grad.p && !grad.q) return;
  with_float_type(in.p.dtype, [&]<class T>(T*) {
    for_rows(ctx, in.p.size(0) * in.p.size(1),
             Gradient<T>{pairs_of<T>(in, unimix), saved.kl.as<float>(), free_nats, rows_of<const float>(dout.loss),
                         rows_of<T>(grad.p), rows_of<T>(grad.q)});
  });
}

}  // namespace dr
