#include "kernels/push_pull/push_pull.h"

#include "kernels/push_pull/pyramid.h"

#include "kernels/core/gpu_channels.h"

namespace dr {
namespace DR_BACKEND {
namespace {

using ConstPlane = Plane<const float>;

// Level 0's weights from the input's.
template <class W>
struct Clamp {
  Plane<const W> from;
  Plane<float> to;
  DR_DEVICE void operator()(int64_t i) const {
    const PixelAt q = pixel_at(i, to.h, to.w);
    to.data[i] = clamped(*from.at(q.n, q.i, q.j));
  }
};
// A coarser level's weights.
struct PullWeight {
  ConstPlane fine;
  Plane<float> to;
  DR_DEVICE void operator()(int64_t i) const {
    const PixelAt q = pixel_at(i, to.h, to.w);
    const float sum = total(fine, q.n, q.i, q.j);
    to.data[i] = sum < 1 ? sum : 1.f;
  }
};

// X and weights of a level from the finer one's.
template <class T>
struct Pull {
  Plane<const T> fine;
  ConstPlane fine_weight;
  Plane<float> to, to_weight;
  ChannelParts parts;

  DR_DEVICE void operator()(int64_t item) const {
    const ChannelParts::Part part = parts(item);
    const PixelAt q = pixel_at(part.pixel, to.h, to.w);
    Channels mean = no_channels();
    float sum = 0;
    for_children(fine_weight, q.n, q.i, q.j, [&](int64_t a, int64_t b, float w) {
      sum += w;
      const float ratio = w / sum;
      const Channels x = load_channels(fine.at(q.n, a, b) + part.c, part);
      mean = for_channels([&](int c) { return fma(ratio, x[c] - mean[c], mean[c]); });
    });
    store_channels(to.at(q.n, q.i, q.j) + part.c, mean, part);
    if (part.c == 0) to_weight.data[part.pixel] = sum < 1 ? sum : 1.f;
  }
};

// Y of a level from the coarser one's. x and y may be one.
template <class T, class U>
struct Push {
  Plane<const T> x;
  Plane<U> y;
  ConstPlane weight, coarse;
  ChannelParts parts;

  DR_DEVICE void operator()(int64_t item) const {
    const ChannelParts::Part part = parts(item);
    const PixelAt q = pixel_at(part.pixel, y.h, y.w);
    const float w = weight.data[part.pixel];
    U* const to = y.at(q.n, q.i, q.j) + part.c;
    const T* const own = x.at(q.n, q.i, q.j) + part.c;
    if (w == 1) return store_channels(to, load_channels(own, part), part);
    const int64_t i2 = beside(q.i, coarse.h), j2 = beside(q.j, coarse.w);
    const auto at = [&](int64_t i, int64_t j) { return load_channels(coarse.at(q.n, i, j) + part.c, part); };
    const Channels a = at(q.i / 2, q.j / 2), b = at(i2, q.j / 2), c = at(q.i / 2, j2), d = at(i2, j2);
    Channels v = for_channels([&](int l) { return toward(toward(a[l], b[l]), toward(c[l], d[l])); });
    if (w > 0) {
      const Channels o = load_channels(own, part);
      v = for_channels([&](int l) { return fma(w, o[l] - v[l], v[l]); });
    }
    store_channels(to, v, part);
  }
};

// G of a level from the finer one's.
template <class T>
struct PushBackward {
  Plane<const T> g;
  ConstPlane weight;  // of the finer level
  Plane<float> to;
  ChannelParts parts;

  DR_DEVICE void operator()(int64_t item) const {
    const ChannelParts::Part part = parts(item);
    const PixelAt q = pixel_at(part.pixel, to.h, to.w);
    const int64_t top = q.i > 0 ? 2 * q.i - 1 : 0, bottom = 2 * q.i + 3 < g.h ? 2 * q.i + 3 : g.h;
    const int64_t left = q.j > 0 ? 2 * q.j - 1 : 0, right = 2 * q.j + 3 < g.w ? 2 * q.j + 3 : g.w;
    Channels sum = no_channels();
    for (int64_t i = top; i < bottom; i++) {
      Channels t = no_channels();
      for (int64_t j = left; j < right; j++) {
        const float valid = *weight.at(q.n, i, j);
        if (valid == 1) continue;
        const float along = up_weight(j, q.j, to.w), open = 1.f - valid;
        const Channels x = load_channels(g.at(q.n, i, j) + part.c, part);
        t = for_channels([&](int c) { return fma(along, open * x[c], t[c]); });
      }
      const float down = up_weight(i, q.i, to.h);
      sum = for_channels([&](int c) { return fma(down, t[c], sum[c]); });
    }
    store_channels(to.at(q.n, q.i, q.j) + part.c, sum, part);
  }
};

// D of a level from its G and the coarser one's D. g and d may be one.
template <class T, class U>
struct PullBackward {
  Plane<const T> g;
  Plane<U> d;
  ConstPlane weight, coarse;
  ChannelParts parts;

  DR_DEVICE void operator()(int64_t item) const {
    const ChannelParts::Part part = parts(item);
    const PixelAt q = pixel_at(part.pixel, d.h, d.w);
    const float w = weight.data[part.pixel];
    Channels v = no_channels();
    if (w > 0) {
      const float ratio = w / total(weight, q.n, q.i / 2, q.j / 2);
      const Channels own = load_channels(g.at(q.n, q.i, q.j) + part.c, part),
                     parent = load_channels(coarse.at(q.n, q.i / 2, q.j / 2) + part.c, part);
      v = for_channels([&](int c) { return fma(w, own[c], ratio * parent[c]); });
    }
    store_channels(d.at(q.n, q.i, q.j) + part.c, v, part);
  }
};

// The launches of a call, level by level. Where the two images have whole parts, so have the levels in scratch: they
// are packed and begin on a cache line.
struct Walk {
  const Context& ctx;
  Pyramid p;
  ChannelParts parts;

  Walk(const Context& ctx_, const View& image, const View& other)
      : ctx(ctx_), p(ctx_, image), parts(channel_parts(p.channels, image, other)) {}
  int64_t pixels(int k) const { return p.images * p.levels.h[k] * p.levels.w[k]; }
  ConstPlane weight(int k) const { return read(p.weight(k)); }

  void clamp(const View& weights) const {
    if (weights.dtype == DType::u8)
      for_each(ctx, pixels(0), Clamp<uint8_t>{Plane<const uint8_t>(weights), p.weight(0)});
    else for_each(ctx, pixels(0), Clamp<float>{ConstPlane(weights), p.weight(0)});
  }
  void pull_weights() const {
    for (int k = 1; k < p.levels.count; k++) for_each(ctx, pixels(k), PullWeight{weight(k - 1), p.weight(k)});
  }
  template <class T>
  void pull(int k, const Plane<const T>& fine) const {
    for_each(ctx, pixels(k) * parts.parts, Pull<T>{fine, weight(k - 1), p.level(k), p.weight(k), parts});
  }
  template <class T, class U>
  void push(int k, const Plane<const T>& x, const Plane<U>& y) const {
    for_each(ctx, pixels(k) * parts.parts, Push<T, U>{x, y, weight(k), read(p.level(k + 1)), parts});
  }
  template <class T>
  void push_backward(int k, const Plane<const T>& g) const {
    for_each(ctx, pixels(k + 1) * parts.parts, PushBackward<T>{g, weight(k), p.level(k + 1), parts});
  }
  template <class T, class U>
  void pull_backward(int k, const Plane<const T>& g, const Plane<U>& d) const {
    for_each(ctx, pixels(k) * parts.parts, PullBackward<T, U>{g, d, weight(k), read(p.level(k + 1)), parts});
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void PushPull::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  if (in.image.count() == 0) return;
  CHECK(out.filled.packed(), "push_pull: filled must be packed");
  const Walk walk(ctx, in.image, out.filled);
  const Pyramid& p = walk.p;
  walk.clamp(in.weight);
  with_float_type(in.image.dtype, [&]<class T>(T*) {
    const Plane<const T> image(in.image);
    walk.pull(1, image);
    for (int k = 2; k < p.levels.count; k++) walk.pull(k, read(p.level(k - 1)));
    for (int k = p.levels.count - 2; k > 0; k--) walk.push(k, read(p.level(k)), p.level(k));
    walk.push(0, image, Plane<T>(out.filled));
  });
}

template <>
void PushPull::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout, const Grad& grad) const {
  if (!grad.image || in.image.count() == 0) return;
  CHECK(dout.filled.packed() && grad.image.packed(), "push_pull: gradients must be packed");
  const Walk walk(ctx, dout.filled, grad.image);
  const Pyramid& p = walk.p;
  walk.clamp(in.weight);
  walk.pull_weights();
  with_float_type(in.image.dtype, [&]<class T>(T*) {
    const Plane<const T> dfilled(dout.filled);
    walk.push_backward(0, dfilled);
    for (int k = 1; k < p.levels.count - 1; k++) walk.push_backward(k, read(p.level(k)));
    for (int k = p.levels.count - 2; k > 0; k--) walk.pull_backward(k, read(p.level(k)), p.level(k));
    walk.pull_backward(0, dfilled, Plane<T>(grad.image));
  });
}

}  // namespace dr
