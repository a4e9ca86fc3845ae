#include "kernels/push_pull/push_pull.h"

#include "kernels/push_pull/pyramid.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kPiece = 4096;  // elements of parallel work

// f(n, i, j) for every pixel of level k.
template <class F>
void for_pixels(Context& ctx, const Pyramid& p, int k, F&& f) {
  const int64_t h = p.levels.h[k], w = p.levels.w[k];
  ctx.parallel(p.images * h, std::max<int64_t>(1, kPiece / (w * p.channels)), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const int64_t n = r / h, i = r % h;
      for (int64_t j = 0; j < w; j++) f(n, i, j);
    }
  });
}

// Level 0: the input's weights, clamped. Then coarser ones: all that backward needs of the forward pass.
void pull_weights(Context& ctx, const Pyramid& p, const View& in) {
  for_pixels(ctx, p, 0, [&](int64_t n, int64_t i, int64_t j) {
    *p.weight(0).at(n, i, j) = in.dtype == DType::u8 ? clamped(*Plane<const uint8_t>(in).at(n, i, j))
                                                     : clamped(*Plane<const float>(in).at(n, i, j));
  });
  for (int k = 1; k < p.levels.count; k++)
    for_pixels(ctx, p, k, [&](int64_t n, int64_t i, int64_t j) {
      *p.weight(k).at(n, i, j) = std::min(total(p.weight(k - 1), n, i, j), 1.f);
    });
}

// X of level k from level k - 1.
template <class T>
void pull(Context& ctx, const Pyramid& p, int k, Plane<const T> fine) {
  for_pixels(ctx, p, k, [&](int64_t n, int64_t i, int64_t j) {
    const T* child[4];
    float ratio[4], sum = 0;
    int count = 0;
    for_children(p.weight(k - 1), n, i, j, [&](int64_t a, int64_t b, float w) {
      sum += w, child[count] = fine.at(n, a, b), ratio[count++] = w / sum;
    });
    float* to = p.level(k).at(n, i, j);
    for_vectors(p.channels, [&](int64_t c, auto m) {
      f32v mean{};
      for (int l = 0; l < count; l++) mean = fma(splat(ratio[l]), load_n(child[l] + c, m) - mean, mean);
      store_n(to + c, mean, m);
    });
  });
}

// Y of level k from Y of level k + 1, which lies where X did.
template <class T, class U>
void push(Context& ctx, const Pyramid& p, int k, Plane<const T> x, Plane<U> y) {
  const Plane<float> coarse = p.level(k + 1), weight = p.weight(k);
  for_pixels(ctx, p, k, [&](int64_t n, int64_t i, int64_t j) {
    const T* own = x.at(n, i, j);
    U* to = y.at(n, i, j);
    const float w = *weight.at(n, i, j);
    if (w == 1) {
      for_vectors(p.channels, [&](int64_t c, auto m) { store_n(to + c, load_n(own + c, m), m); });
      return;
    }
    const int64_t i2 = beside(i, p.levels.h[k + 1]), j2 = beside(j, p.levels.w[k + 1]);
    const float *a = coarse.at(n, i / 2, j / 2), *b = coarse.at(n, i2, j / 2), *c = coarse.at(n, i / 2, j2),
                *d = coarse.at(n, i2, j2);
    for_vectors(p.channels, [&](int64_t l, auto m) {
      const f32v up = toward(toward(load_n(a + l, m), load_n(b + l, m)), toward(load_n(c + l, m), load_n(d + l, m)));
      store_n(to + l, w > 0 ? fma(splat(w), load_n(own + l, m) - up, up) : up, m);
    });
  });
}

// G of level k + 1 from G of level k.
template <class T>
void push_backward(Context& ctx, const Pyramid& p, int k, Plane<const T> g) {
  const int64_t h = p.levels.h[k], w = p.levels.w[k], coarse_h = p.levels.h[k + 1], coarse_w = p.levels.w[k + 1];
  const Plane<float> weight = p.weight(k);
  for_pixels(ctx, p, k + 1, [&](int64_t n, int64_t a, int64_t b) {
    const int64_t top = std::max<int64_t>(0, 2 * a - 1), bottom = std::min(h, 2 * a + 3);
    const int64_t left = std::max<int64_t>(0, 2 * b - 1), right = std::min(w, 2 * b + 3);
    float* to = p.level(k + 1).at(n, a, b);
    for_vectors(p.channels, [&](int64_t c, auto m) {
      f32v sum{};
      for (int64_t i = top; i < bottom; i++) {
        f32v t{};
        for (int64_t j = left; j < right; j++) {
          const float valid = *weight.at(n, i, j);
          if (valid == 1) continue;
          t = fma(splat(up_weight(j, b, coarse_w)), splat(1.f - valid) * load_n(g.at(n, i, j) + c, m), t);
        }
        sum = fma(splat(up_weight(i, a, coarse_h)), t, sum);
      }
      store_n(to + c, sum, m);
    });
  });
}

// D of level k from G of level k and D of level k + 1.
template <class T, class U>
void pull_backward(Context& ctx, const Pyramid& p, int k, Plane<const T> g, Plane<U> d) {
  for_pixels(ctx, p, k, [&](int64_t n, int64_t i, int64_t j) {
    const float w = *p.weight(k).at(n, i, j);
    const f32v own = splat(w), ratio = splat(w > 0 ? w / total(p.weight(k), n, i / 2, j / 2) : 0.f);
    const T* from = g.at(n, i, j);
    const float* parent = p.level(k + 1).at(n, i / 2, j / 2);
    U* to = d.at(n, i, j);
    for_vectors(p.channels, [&](int64_t c, auto m) {
      store_n(to + c, w > 0 ? fma(own, load_n(from + c, m), ratio * load_n(parent + c, m)) : f32v{}, m);
    });
  });
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void PushPull::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  if (in.image.count() == 0) return;
  CHECK(out.filled.packed(), "push_pull: filled must be packed");
  const Pyramid p(ctx, in.image);
  pull_weights(ctx, p, in.weight);
  with_float_type(in.image.dtype, [&]<class T>(T*) {
    const Plane<const T> image(in.image);
    pull(ctx, p, 1, image);
    for (int k = 2; k < p.levels.count; k++) pull(ctx, p, k, read(p.level(k - 1)));
    for (int k = p.levels.count - 2; k > 0; k--) push(ctx, p, k, read(p.level(k)), p.level(k));
    push(ctx, p, 0, image, Plane<T>(out.filled));
  });
}

template <>
void PushPull::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout, const Grad& grad) const {
  if (!grad.image || in.image.count() == 0) return;
  CHECK(dout.filled.packed() && grad.image.packed(), "push_pull: gradients must be packed");
  const Pyramid p(ctx, in.image);
  pull_weights(ctx, p, in.weight);
  with_float_type(in.image.dtype, [&]<class T>(T*) {
    const Plane<const T> dfilled(dout.filled);
    push_backward(ctx, p, 0, dfilled);
    for (int k = 1; k < p.levels.count - 1; k++) push_backward(ctx, p, k, read(p.level(k)));
    for (int k = p.levels.count - 2; k > 0; k--) pull_backward(ctx, p, k, read(p.level(k)), p.level(k));
    pull_backward(ctx, p, 0, dfilled, Plane<T>(grad.image));
  });
}

}  // namespace dr
