#include "kernels/cross_entropy/cross_entropy.h"

#include "kernels/cross_entropy/class_rows.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kPiece = 4096;  // elements of parallel work at least
int64_t rows_per_piece(int64_t classes) { return (kPiece / classes + W) / W * W; }

// loss(r, x, max, log_den) of every row. Rows are taken by the vector, since one logarithm costs as much as W of them.
template <class T, class Loss>
void forward_rows(Context& ctx, const CrossEntropy::In& in, const CrossEntropy::Out& out, Loss&& loss) {
  const int64_t classes = in.logits.size(1);
  float *const max = out.max.as<float>(), *const den = out.den.as<float>();
  ctx.parallel(in.logits.size(0), rows_per_piece(classes), [&](int64_t begin, int64_t end) {
    for_vectors(end - begin, [&](int64_t i, auto n) {
      const int64_t first = begin + i;
      for (int64_t r = first; r < first + n; r++) {
        const SoftmaxRow row = softmax_of(row_of<const T>(in.logits, r), classes);
        max[r] = row.max;
        den[r] = row.den;
      }
      float log_den[W];
      store(log_den, log(load_n(den + first, n)));
      for (int64_t r = first; r < first + n; r++)
        out.loss.as<float>()[r] = loss(r, row_of<const T>(in.logits, r), max[r], log_den[r - first]);
    });
  });
}

// sum_c t nll, where a weight of 0 passes over its class.
template <class T, class U>
DR_INLINE float weighted_nll(const T* x, const U* target, int64_t classes, float max, float log_den_) {
  const f32v m = splat(max), log_den = splat(log_den_);
  return row_reduce(classes, [&](f32v& acc, int64_t i, auto n) {
    const f32v t = load_n(target + i, n), nll = log_den - (load_n(x + i, n) - m);
    acc = fma(t, t == 0.f ? f32v{} : nll, acc);
  });
}

template <class T, class U>
DR_INLINE void weighted_gradient(const T* x, const U* target, int64_t classes, const SoftmaxRow& row, float g, T* dx) {
  const f32v sum = splat(row_sum(target, classes));
  for_probabilities(x, classes, row, [&](int64_t i, f32v p, auto n) {
    store_n(dx + i, splat(g) * fma(p, sum, -load_n(target + i, n)), n);
  });
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void CrossEntropy::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t classes = in.logits.size(1);
  with_float_type(in.logits.dtype, [&]<class T>(T*) {
    if (in.target.dtype == DType::i32) {
      const int32_t* const target = in.target.as<int32_t>();
      const int64_t stride = in.target.stride(0);
      for (int64_t r = 0; r < in.logits.size(0); r++) {
        const int32_t t = target[r * stride];
        CHECK((t >= 0 && t < classes) || t == ignore_index,
              "cross_entropy: target[{}] is {}; classes are 0 to {}, and {} is ignored", r, t, classes - 1,
              ignore_index);
      }
      forward_rows<T>(ctx, in, out, [&](int64_t r, const T* x, float max, float log_den) {
        const int32_t t = target[r * stride];
        return t == ignore_index ? 0.f : class_nll(load1(x + t), max, log_den);
      });
    } else {
      with_float_type(in.target.dtype, [&]<class U>(U*) {
        forward_rows<T>(ctx, in, out, [&](int64_t r, const T* x, float max, float log_den) {
          return weighted_nll(x, row_of<const U>(in.target, r), classes, max, log_den);
        });
      });
    }
  });
}

template <>
void CrossEntropy::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dout,
                                      const Grad& grad) const {
  if (!grad.logits) return;
  const int64_t classes = in.logits.size(1);
  with_float_type(in.logits.dtype, [&]<class T>(T*) {
    auto rows = [&](auto&& gradient) {
      ctx.parallel(in.logits.size(0), rows_per_piece(classes), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; r++)
          gradient(r, row_of<const T>(in.logits, r), SoftmaxRow{saved.max.as<float>()[r], saved.den.as<float>()[r]},
                   dout.loss.as<float>()[r * dout.loss.stride(0)], row_of<T>(grad.logits, r));
      });
    };
    if (in.target.dtype == DType::i32) {
      rows([&](int64_t r, const T* x, const SoftmaxRow& row, float g, T* dx) {
        const int32_t t = in.target.as<int32_t>()[r * in.target.stride(0)];
        if (t == ignore_index) std::memset(dx, 0, size_t(classes) * sizeof(T));
        else class_gradient(x, classes, row, t, g, dx);
      });
    } else {
      with_float_type(in.target.dtype, [&]<class U>(U*) {
        rows([&](int64_t r, const T* x, const SoftmaxRow& row, float g, T* dx) {
          weighted_gradient(x, row_of<const U>(in.target, r), classes, row, g, dx);
        });
      });
    }
  });
}

}  // namespace dr
