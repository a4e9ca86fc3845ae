#include "kernels/categorical_kl/categorical_kl.h"

#include <vector>

#include "kernels/categorical_kl/divergence_math.h"
#include "kernels/core/column_sums.h"
#include "kernels/core/softmax_row.h"
#include "kernels/core/weighted.h"

namespace dr {
namespace DR_ISA {
namespace {

// One group of a row, p against q: the softmax of either, and L.
template <class T>
class Group {
 public:
  Group(float unimix, int64_t classes) : mix(unimix, classes), classes_(classes), buffer_(size_t(3 * classes)) {}

  const Unimix mix;
  float *s() { return buffer_.data(); }
  float *t() { return s() + classes_; }
  float *log_ratio() { return t() + classes_; }

  void set(const T* p, const T* q) {
    float *const sp = s(), *const sq = t(), *const ratio = log_ratio();
    const SoftmaxRow a = softmax_into(p, classes_, sp), b = softmax_into(q, classes_, sq);
    if (mix.uniform > 0) {
      for_vectors(classes_, [&](int64_t i, auto n) {
        store_n(ratio + i, mixed_log_ratio(mix, load_n(sp + i, n), load_n(sq + i, n)), n);
      });
      return;
    }
    const f32v ma = splat(a.max), mb = splat(b.max), log_a = log(splat(a.den)), log_b = log(splat(b.den));
    for_vectors(classes_, [&](int64_t i, auto n) {
      store_n(ratio + i, pure_log_ratio(load_n(p + i, n) - ma, log_a, load_n(q + i, n) - mb, log_b), n);
    });
  }

  // Sum of weight L over the classes whose weight, 0 in lanes past n, is not 0.
  template <class F>
  float mean_log_ratio(F&& weight) {
    return row_reduce(classes_, [&](f32v& acc, int64_t i, auto n) {
      acc = add_weighted(acc, keep(weight(i, n), n), load_n(log_ratio() + i, n));
    });
  }
  float divergence() {
    return mean_log_ratio([&](int64_t i, auto n) { return mix(load_n(s() + i, n)); });
  }

  void gradient_p(float g, T* dp) {
    const f32v mean = splat(mean_log_ratio([&](int64_t i, auto n) { return load_n(s() + i, n); }));
    for_vectors(classes_, [&](int64_t i, auto n) {
      store_n(dp + i, divergence_slope_p(mix, g, load_n(s() + i, n), load_n(log_ratio() + i, n), mean), n);
    });
  }
  void gradient_q(float g, T* dq) {
    float* const flow = log_ratio();  // P v takes its place
    const f32v sum = splat(row_reduce(classes_, [&](f32v& acc, int64_t i, auto n) {
      const f32v pv = divergence_flow(mix, load_n(s() + i, n), load_n(t() + i, n));
      store_n(flow + i, pv, n);
      acc += keep(pv, n);
    }));
    for_vectors(classes_, [&](int64_t i, auto n) {
      store_n(dq + i, divergence_slope_q(g, load_n(t() + i, n), load_n(flow + i, n), sum), n);
    });
  }

 private:
  int64_t classes_;
  std::vector<float> buffer_;
};

int64_t grain(const View& p) { return std::max<int64_t>(1, 2048 / std::max<int64_t>(1, p.size(1) * p.size(2))); }

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void CategoricalKl::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t groups = in.p.size(1), classes = in.p.size(2);
  with_float_type(in.p.dtype, [&]<class T>(T*) {
    ctx.parallel(in.p.size(0), grain(in.p), [&](int64_t begin, int64_t end) {
      Group<T> group(unimix, classes);
      std::vector<float> divergence(static_cast<size_t>(groups));
      for (int64_t r = begin; r < end; r++) {
        const T *p = row_of<const T>(in.p, r), *q = row_of<const T>(in.q, r);
        for (int64_t g = 0; g < groups; g++) {
          group.set(p + g * classes, q + g * classes);
          divergence[size_t(g)] = group.divergence();
        }
        const float kl = row_sum(divergence.data(), groups);
        out.kl.as<float>()[r] = kl;
        out.loss.as<float>()[r] = at_least_free_nats(kl, free_nats);
      }
    });
  });
}

template <>
void CategoricalKl::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dout,
                                       const Grad& grad) const {
  const int64_t groups = in.p.size(1), classes = in.p.size(2);
  with_float_type(in.p.dtype, [&]<class T>(T*) {
    ctx.parallel(in.p.size(0), grain(in.p), [&](int64_t begin, int64_t end) {
      Group<T> group(unimix, classes);
      for (int64_t r = begin; r < end; r++) {
        const T *p = row_of<const T>(in.p, r), *q = row_of<const T>(in.q, r);
        T *const dp = grad.p ? row_of<T>(grad.p, r) : nullptr, *const dq = grad.q ? row_of<T>(grad.q, r) : nullptr;
        if (saved.kl.as<float>()[r] <= free_nats) {
          for (T* d : {dp, dq})
            if (d) std::memset(d, 0, size_t(groups * classes) * sizeof(T));
          continue;
        }
        const float g = *row_of<const float>(dout.loss, r);
        for (int64_t i = 0; i < groups; i++) {
          group.set(p + i * classes, q + i * classes);
          if (dp) group.gradient_p(g, dp + i * classes);
          if (dq) group.gradient_q(g, dq + i * classes);
        }
      }
    });
  });
}

}  // namespace dr
