#pragma once
// Rows of logits against a class, on a device, as class_rows.h has them for the CPU: a group of 32 lanes takes a row.
// Last include of a `.cu`, as gpu.h.

#include "kernels/core/gpu_softmax_row.h"
#include "kernels/cross_entropy/class_math.h"

namespace dr::DR_BACKEND {

template <class T, class F>
struct ClassLoss {
  RowsOf<const T> logits;
  int64_t classes;
  float *loss, *max, *den;
  F f;
  DR_DEVICE void operator()(int64_t r) const {
    const T* const x = logits.row(r);
    const SoftmaxRow row = softmax_of(x, classes);
    const float value = f(r, x, row.max, log(row.den));
    if (lane_index() == 0) loss[r] = value, max[r] = row.max, den[r] = row.den;
  }
};
// loss[r] = f(r, x, max, log_den), and each row's max and den; every lane of the group calls f.
template <class T, class F>
void for_class_losses(const Context& ctx, const View& logits, const View& loss, const View& max, const View& den,
                      const F& f) {
  for_rows(ctx, logits.size(0),
           ClassLoss<T, F>{rows_of<const T>(logits), logits.size(1), loss.as<float>(), max.as<float>(),
                           den.as<float>(), f});
}

template <class T, class F>
struct ClassGradient {
  RowsOf<const T> logits;
  RowsOf<const float> dout;
  RowsOf<T> dlogits;
  int64_t classes;
  const float *max, *den;
  F f;
  DR_DEVICE void operator()(int64_t r) const {
    const T* const x = logits.row(r);
    const SoftmaxRow row{max[r], den[r]};
    const float g = *dout.row(r);
    const auto slope = f(r);
    for (int64_t i = lane_index(); i < classes; i += kGroup)
      store1(dlogits.row(r) + i, slope(i, row.share(load1(x + i)), g));
  }
};
// f(r), called by every lane of the group, gives the slope of row r's logits, a function of class, probability and the
// row's output gradient.
template <class T, class F>
void for_class_gradients(const Context& ctx, const View& logits, const View& max, const View& den, const View& dout,
                         const View& dlogits, const F& f) {
  for_rows(ctx, logits.size(0),
           ClassGradient<T, F>{rows_of<const T>(logits), rows_of<const float>(dout), rows_of<T>(dlogits),
                               logits.size(1), max.as<float>(), den.as<float>(), f});
}

}  // namespace dr::DR_BACKEND
