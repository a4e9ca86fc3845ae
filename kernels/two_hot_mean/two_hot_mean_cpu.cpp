#include "kernels/two_hot_mean/two_hot_mean.h"

#include <vector>

#include "kernels/cross_entropy/class_rows.h"

namespace dr {
namespace DR_ISA {
namespace {

template <int... I>
DR_INLINE f32v reversed(f32v v, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(v, v, (W - 1 - I)...);
}

// The products of one row in both directions: forwards[c] = backwards[C-1-c].
class Products {
 public:
  explicit Products(int64_t count) : count_(count), forwards_(size_t(count)), backwards_(size_t(count + W)) {}

  template <class N>
  DR_INLINE void set(int64_t i, f32v product, N n) {
    store_n(forwards_.data() + i, product, n);
    // Ends at element C-1-i; what a partial vector writes before element 0 falls into the W elements of slack.
    store(backwards_.data() + count_ - i, reversed(product, std::make_integer_sequence<int, W>{}));
  }
  DR_INLINE float sum() const {
    const float *a = forwards_.data(), *b = backwards_.data() + W;
    const float pairs = row_reduce(count_ / 2, [&](f32v& acc, int64_t i, auto n) {
      acc += load_n(a + i, n) + load_n(b + i, n);
    });
    return count_ % 2 ? pairs + a[count_ / 2] : pairs;
  }

 private:
  int64_t count_;
  std::vector<float> forwards_, backwards_;
};

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void TwoHotMean::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t count = in.bins.size(0);
  const float* const bins = in.bins.as<float>();
  with_float_type(in.logits.dtype, [&]<class T>(T*) {
    ctx.parallel(in.logits.size(0), rows_per_piece(count), [&](int64_t begin, int64_t end) {
      Products products(count);
      for (int64_t r = begin; r < end; r++) {
        const T* x = row_of<const T>(in.logits, r);
        const SoftmaxRow row = softmax_row(
            count, [x](int64_t i, auto n) { return load_n(x + i, n); },
            [&](int64_t i, f32v e, auto n) { products.set(i, e * load_n(bins + i, n), n); });
        out.mean.as<float>()[r] = products.sum() / row.den;
        out.max.as<float>()[r] = row.max;
        out.den.as<float>()[r] = row.den;
      }
    });
  });
}

template <>
void TwoHotMean::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dout,
                                    const Grad& grad) const {
  if (!grad.logits) return;
  const float* const bins = in.bins.as<float>();
  with_float_type(in.logits.dtype, [&]<class T>(T*) {
    for_class_gradients<T>(ctx, in.logits, saved.max, saved.den, dout.mean, grad.logits,
                           [&](int64_t r, const T* x, const SoftmaxRow& row, float g, T* dx) {
                             const f32v mean = splat(saved.mean.as<float>()[r]), gv = splat(g);
                             for_probabilities(x, in.bins.size(0), row, [&](int64_t i, f32v p, auto n) {
                               store_n(dx + i, (gv * p) * (load_n(bins + i, n) - mean), n);
                             });
                           });
  });
}

}  // namespace dr
