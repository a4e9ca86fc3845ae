#include "kernels/categorical/categorical.h"
#include "kernels/categorical/distributions.h"
#include "kernels/categorical/unimix.h"

#include "kernels/core/gpu_philox.h"
#include "kernels/core/gpu_softmax_row.h"

namespace dr {
namespace DR_BACKEND {
namespace {

// The first class at which the running sum of probabilities, added in ascending order, exceeds u; else the last that
// can occur. A lane reads every 32nd, and all lanes add the same numbers.
DR_DEVICE int64_t draw(const float* probs, int64_t classes, float u) {
  float sum = 0;
  int64_t last = 0;
  for (int64_t first = 0; first < classes; first += kGroup) {
    const int64_t mine = first + lane_index();
    const float p = mine < classes ? probs[mine] : 0.f;
    if (p != 0) last = mine;
    int found = -1;
    DR_UNROLL
    for (int j = 0; j < kGroup; j++) {
      sum = sum + shuffle(p, j);
      if (found < 0 && u < sum) found = j;
    }
    if (found >= 0) return first + found;
  }
  for (int offset = 16; offset > 0; offset /= 2) {
    const int64_t other = shuffle_xor(last, offset);
    last = other > last ? other : last;
  }
  return last;
}

// The largest logit's class by the total order, the lowest of equals; of logits that are no NaN.
template <class T>
DR_DEVICE int64_t largest(const T* x, int64_t classes) {
  int32_t best = INT32_MIN;
  int64_t at = classes;
  for (int64_t i = lane_index(); i < classes; i += kGroup) {
    const int32_t order = logit_order(load1(x + i));
    if (order > best) best = order, at = i;
  }
  for (int offset = 16; offset > 0; offset /= 2) {
    const int32_t other = shuffle_xor(best, offset);
    const int64_t other_at = shuffle_xor(at, offset);
    if (other > best || (other == best && other_at < at)) best = other, at = other_at;
  }
  return at;
}

// A group of lanes takes a distribution.
template <class T>
struct Draw {
  Distributions all;
  Unimix mix;
  RandomElements random;  // rng null: the largest logit
  const T* logits;
  int64_t stride;  // between samples of logits
  T* sample;
  int32_t* index;
  float* probs;

  DR_DEVICE void operator()(int64_t d) const {
    const T* const x = logits + all.offset(stride, d);
    float* const p = probs + d * all.classes;
    const SoftmaxRow row = softmax_of(x, all.classes);
    for (int64_t i = lane_index(); i < all.classes; i += kGroup) p[i] = mix(row.share(load1(x + i)));
    const bool valid = row.den == row.den;
    int64_t drawn = -1;
    if (valid) drawn = random.rng ? draw(p, all.classes, uniform_below_one(random.bits(d))) : largest(x, all.classes);
    if (lane_index() == 0) index[d] = int32_t(drawn);
    for (int64_t i = lane_index(); i < all.classes; i += kGroup)
      store1(sample + d * all.classes + i, !valid ? std::numeric_limits<float>::quiet_NaN() : i == drawn ? 1.f : 0.f);
  }
};

template <class T>
struct Gradient {
  Distributions all;
  float own;
  const T* logits;
  int64_t stride;
  const float* dprobs;
  const T* dsample;  // null: not to be added
  T* dlogits;

  DR_DEVICE void operator()(int64_t d) const {
    const T* const x = logits + all.offset(stride, d);
    const int64_t first = d * all.classes;
    auto slope = [&](int64_t i) {
      const float p = dprobs[first + i];
      return dsample ? p + load1(dsample + first + i) : p;
    };
    const SoftmaxRow row = softmax_of(x, all.classes);
    auto s = [&](int64_t i) { return row.share(load1(x + i)); };
    const float sum = row_reduce(all.classes, [&](float& acc, int64_t i) { acc = fma(s(i), slope(i), acc); });
    for (int64_t i = lane_index(); i < all.classes; i += kGroup)
      store1(dlogits + first + i, mixed_logit_slope(own, s(i), slope(i), sum));
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void Categorical::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const Distributions all(in.logits);
  const RandomElements random{argmax ? nullptr : in.rng.as<uint32_t>(), ctx.op_id,
                              ctx.first_sample * uint64_t(all.per_sample)};
  with_float_type(in.logits.dtype, [&]<class T>(T*) {
    for_rows(ctx, all.count,
             Draw<T>{all, Unimix(unimix, all.classes), random, static_cast<const T*>(in.logits.data),
                     in.logits.stride(0), static_cast<T*>(out.sample.data), out.index.as<int32_t>(),
                     out.probs.as<float>()});
  });
}

template <>
void Categorical::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout,
                                     const Grad& grad) const {
  if (!grad.logits) return;
  const Distributions all(in.logits);
  with_float_type(in.logits.dtype, [&]<class T>(T*) {
    const T* const dsample = straight_through ? static_cast<const T*>(dout.sample.data) : nullptr;
    for_rows(ctx, all.count,
             Gradient<T>{all, Unimix(unimix, all.classes).own, static_cast<const T*>(in.logits.data),
                         in.logits.stride(0), dout.probs.as<float>(), dsample, static_cast<T*>(grad.logits.data)});
  });
}

}  // namespace dr
