#include "kernels/categorical/categorical.h"

#include <vector>

#include "kernels/categorical/distributions.h"
#include "kernels/categorical/unimix.h"
#include "kernels/core/philox_simd.h"
#include "kernels/cross_entropy/class_rows.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kRun = 128;  // distributions whose random numbers are made at once: one run of for_random

template <class T>
DR_INLINE const T* logits_of(const Distributions& all, const View& logits, int64_t d) {
  return static_cast<const T*>(logits.data) + all.offset(logits.stride(0), d);
}
int64_t grain(const Distributions& all) { return std::max<int64_t>(1, 8192 / all.classes); }

int32_t draw(const float* probs, int64_t classes, float u) {
  float sum = 0;
  for (int64_t c = 0; c < classes; c++) {
    sum += probs[c];
    if (u < sum) return int32_t(c);
  }
  int64_t last = classes - 1;
  while (probs[last] == 0) last--;
  return int32_t(last);
}

template <class T>
int32_t largest(const T* x, int64_t classes) {
  int64_t best = 0;
  for (int64_t c = 1; c < classes; c++)
    if (logit_order(load1(x + c)) > logit_order(load1(x + best))) best = c;
  return int32_t(best);
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void Categorical::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const Distributions all(in.logits);
  const RandomStream random = argmax ? RandomStream{} : random_stream(in.rng.as<uint32_t>(), ctx.op_id);
  const uint64_t first = ctx.first_sample * uint64_t(all.per_sample);
  const Unimix mix(unimix, all.classes);
  with_float_type(in.logits.dtype, [&]<class T>(T*) {
    auto one = [&](int64_t d, float u) {
      const T* x = logits_of<T>(all, in.logits, d);
      float* const probs = out.probs.as<float>() + d * all.classes;
      T* const sample = out.sample.as<T>() + d * all.classes;
      const SoftmaxRow row = softmax_into(x, all.classes, probs);
      for_vectors(all.classes, [&](int64_t i, auto n) { store_n(probs + i, mix(load_n(probs + i, n)), n); });
      const bool valid = row.den == row.den;
      const int32_t index = !valid ? -1 : argmax ? largest(x, all.classes) : draw(probs, all.classes, u);
      out.index.as<int32_t>()[d] = index;
      for_vectors(all.classes, [&](int64_t i, auto n) {
        store_n(sample + i, valid ? at_element(i, index, 1.f) : splat(__builtin_nanf("")), n);
      });
    };
    ctx.parallel(all.count, grain(all), [&](int64_t begin, int64_t end) {
      for (int64_t run = begin; run < end; run += kRun) {
        const int64_t count = std::min(kRun, end - run);
        float u[kRun] = {};
        if (!argmax)
          for_random(
              random, first + uint64_t(run), count,
              [](const PhiloxVectors& w, f32v (&v)[4]) {
                for (int j = 0; j < 4; j++) v[j] = uniform_below_one(w.x[j]);
              },
              [&](int64_t i, f32v v, auto n) { store_n(u + i, v, n); });
        for (int64_t i = 0; i < count; i++) one(run + i, u[i]);
      }
    });
  });
}

template <>
void Categorical::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout,
                                     const Grad& grad) const {
  if (!grad.logits) return;
  const Distributions all(in.logits);
  const f32v own = splat(Unimix(unimix, all.classes).own);
  with_float_type(in.logits.dtype, [&]<class T>(T*) {
    ctx.parallel(all.count, grain(all), [&](int64_t begin, int64_t end) {
      std::vector<float> buffer(size_t(2 * all.classes));
      float *const s = buffer.data(), *const d = s + all.classes;
      for (int64_t g = begin; g < end; g++) {
        const float* dprobs = dout.probs.as<float>() + g * all.classes;
        const T* dsample = dout.sample.as<T>() + g * all.classes;
        T* const dx = grad.logits.as<T>() + g * all.classes;
        softmax_into(logits_of<T>(all, in.logits, g), all.classes, s);
        const f32v sum = splat(row_reduce(all.classes, [&](f32v& acc, int64_t i, auto n) {
          f32v di = load_n(dprobs + i, n);
          if (straight_through) di += load_n(dsample + i, n);
          store_n(d + i, di, n);
          acc = fma(load_n(s + i, n), di, acc);
        }));
        for_vectors(all.classes, [&](int64_t i, auto n) {
          store_n(dx + i, mixed_logit_slope(own, load_n(s + i, n), load_n(d + i, n), sum), n);
        });
      }
    });
  });
}

}  // namespace dr
