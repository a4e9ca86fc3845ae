#include "kernels/push_pull/push_pull.h"

#include "kernels/core/simd.h"

namespace dr {
namespace DR_ISA {
namespace {

using Levels = PushPull::Levels;

constexpr int64_t kPiece = 4096;  // elements of parallel work

// Pixels of one level of all images.
template <class T>
struct Plane {
  T* data;
  int64_t image, row, pixel;  // strides
  Plane(T* data_, int64_t h, int64_t w, int64_t c) : data(data_), image(h * w * c), row(w * c), pixel(c) {}
  explicit Plane(const View& v)
      : data(static_cast<T*>(v.data)), image(v.stride(0)), row(v.stride(1)), pixel(v.rank() == 4 ? v.stride(2) : 1) {}
  DR_INLINE T* at(int64_t n, int64_t i, int64_t j) const { return data + n * image + i * row + j * pixel; }
};

// The pyramid of a call in its scratch: weights of every level, pixels of level 1 and coarser.
struct Pyramid {
  Levels levels;
  int64_t images, channels;
  float *weights, *pixels;

  Pyramid(Context& ctx, const View& image)
      : levels(image.size(1), image.size(2)), images(image.size(0)), channels(image.size(3)) {
    weights = ctx.scratch_as<float>(size_t(images * (levels.pixels() + levels.coarse_pixels() * channels)));
    pixels = weights + images * levels.pixels();
  }
  Plane<float> weight(int k) const { return {weights + images * levels.before[k], levels.h[k], levels.w[k], 1}; }
  Plane<float> level(int k) const {
    return {pixels + images * (levels.before[k] - levels.before[1]) * channels, levels.h[k], levels.w[k], channels};
  }

  // f(n, i, j) for every pixel of level k.
  template <class F>
  void for_pixels(Context& ctx, int k, F&& f) const {
    const int64_t h = levels.h[k], w = levels.w[k];
    ctx.parallel(images * h, std::max<int64_t>(1, kPiece / (w * channels)), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; r++) {
        const int64_t n = r / h, i = r % h;
        for (int64_t j = 0; j < w; j++) f(n, i, j);
      }
    });
  }
  // f(child's row, column, weight) for the children in level k - 1 of a pixel of level k that have a weight.
  template <class F>
  DR_INLINE void for_children(int k, int64_t n, int64_t i, int64_t j, F&& f) const {
    const Plane<float> weight_of = weight(k - 1);
    const int64_t last_row = std::min(2 * i + 2, levels.h[k - 1]), last_col = std::min(2 * j + 2, levels.w[k - 1]);
    for (int64_t a = 2 * i; a < last_row; a++)
      for (int64_t b = 2 * j; b < last_col; b++)
        if (const float w = *weight_of.at(n, a, b); w > 0) f(a, b, w);
  }
  DR_INLINE float total(int k, int64_t n, int64_t i, int64_t j) const {
    float sum = 0;
    for_children(k, n, i, j, [&](int64_t, int64_t, float w) { sum += w; });
    return sum;
  }

  // Level 0: the input's weights, clamped. Then coarser ones: all that backward needs of the forward pass.
  void pull_weights(Context& ctx, const View& in) const {
    for_pixels(ctx, 0, [&](int64_t n, int64_t i, int64_t j) {
      const float w = in.dtype == DType::u8 ? float(*Plane<const uint8_t>(in).at(n, i, j) != 0)
                                            : *Plane<const float>(in).at(n, i, j);
      *weight(0).at(n, i, j) = w > 0 ? std::min(w, 1.f) : 0.f;
    });
    for (int k = 1; k < levels.count; k++)
      for_pixels(ctx, k,
                 [&](int64_t n, int64_t i, int64_t j) { *weight(k).at(n, i, j) = std::min(total(k, n, i, j), 1.f); });
  }
};

// X of level k from level k - 1.
template <class T>
void pull(Context& ctx, const Pyramid& p, int k, Plane<const T> fine) {
  p.for_pixels(ctx, k, [&](int64_t n, int64_t i, int64_t j) {
    const T* child[4];
    float ratio[4], sum = 0;
    int count = 0;
    p.for_children(k, n, i, j, [&](int64_t a, int64_t b, float w) {
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

// The parent's neighbour on the side of pixel i, or the parent itself where there is none.
DR_INLINE int64_t beside(int64_t i, int64_t coarse) {
  const int64_t other = i % 2 ? i / 2 + 1 : i / 2 - 1;
  return other < 0 || other >= coarse ? i / 2 : other;
}
DR_INLINE f32v lerp(f32v a, f32v b) { return fma(splat(0.25f), b - a, a); }

// Y of level k from Y of level k + 1, which lies where X did.
template <class T, class U>
void push(Context& ctx, const Pyramid& p, int k, Plane<const T> x, Plane<U> y) {
  const Plane<float> coarse = p.level(k + 1), weight = p.weight(k);
  p.for_pixels(ctx, k, [&](int64_t n, int64_t i, int64_t j) {
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
      const f32v up = lerp(lerp(load_n(a + l, m), load_n(b + l, m)), lerp(load_n(c + l, m), load_n(d + l, m)));
      store_n(to + l, w > 0 ? fma(splat(w), load_n(own + l, m) - up, up) : up, m);
    });
  });
}

// Weight of coarse pixel a in up of pixel i.
DR_INLINE float up_weight(int64_t i, int64_t a, int64_t coarse) {
  const int64_t other = beside(i, coarse);
  return (i / 2 == a ? 0.75f : 0.f) + (other == a ? 0.25f : 0.f);
}

// G of level k + 1 from G of level k.
template <class T>
void push_backward(Context& ctx, const Pyramid& p, int k, Plane<const T> g) {
  const int64_t h = p.levels.h[k], w = p.levels.w[k], coarse_h = p.levels.h[k + 1], coarse_w = p.levels.w[k + 1];
  const Plane<float> weight = p.weight(k);
  p.for_pixels(ctx, k + 1, [&](int64_t n, int64_t a, int64_t b) {
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
  p.for_pixels(ctx, k, [&](int64_t n, int64_t i, int64_t j) {
    const float w = *p.weight(k).at(n, i, j);
    const f32v own = splat(w), ratio = splat(w > 0 ? w / p.total(k + 1, n, i / 2, j / 2) : 0.f);
    const T* from = g.at(n, i, j);
    const float* parent = p.level(k + 1).at(n, i / 2, j / 2);
    U* to = d.at(n, i, j);
    for_vectors(p.channels, [&](int64_t c, auto m) {
      store_n(to + c, w > 0 ? fma(own, load_n(from + c, m), ratio * load_n(parent + c, m)) : f32v{}, m);
    });
  });
}

DR_INLINE Plane<const float> read(Plane<float> p) { return std::bit_cast<Plane<const float>>(p); }

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void PushPull::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  if (in.image.count() == 0) return;
  CHECK(out.filled.packed(), "push_pull: filled must be packed");
  const Pyramid p(ctx, in.image);
  p.pull_weights(ctx, in.weight);
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
  p.pull_weights(ctx, in.weight);
  with_float_type(in.image.dtype, [&]<class T>(T*) {
    const Plane<const T> dfilled(dout.filled);
    push_backward(ctx, p, 0, dfilled);
    for (int k = 1; k < p.levels.count - 1; k++) push_backward(ctx, p, k, read(p.level(k)));
    for (int k = p.levels.count - 2; k > 0; k--) pull_backward(ctx, p, k, read(p.level(k)), p.level(k));
    pull_backward(ctx, p, 0, dfilled, Plane<T>(grad.image));
  });
}

}  // namespace dr
