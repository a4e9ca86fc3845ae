#include "kernels/resize2d/resize2d.h"

#include "kernels/resize2d/resize2d_math.h"

#include "kernels/core/gpu_channels.h"

namespace dr {
namespace DR_BACKEND {
namespace {

using Tap = Resize2d::Tap;
using Readers = Resize2d::Readers;

struct Axis {
  int64_t in, out;
  Tap* taps;         // of each output
  Readers* readers;  // of each input
};

struct FindTaps {
  Axis y, x;
  Interpolation how;
  DR_DEVICE void operator()(int64_t i) const {
    if (i < y.out) y.taps[i] = axis_tap(i, y.in, y.out, how);
    else x.taps[i - y.out] = axis_tap(i - y.out, x.in, x.out, how);
  }
};
// lo and hi grow with the output, so a pixel's readers are neighbours.
struct FindReaders {
  Axis y, x;
  // The first output that reads pixel i or, with `past`, a later one only.
  DR_DEVICE static int32_t first(const Axis& a, int64_t i, bool past) {
    int64_t begin = 0, end = a.out;
    while (begin < end) {
      const int64_t middle = (begin + end) / 2;
      const Tap& t = a.taps[middle];
      if (past ? t.lo <= i : t.hi < i) begin = middle + 1;
      else end = middle;
    }
    return int32_t(begin);
  }
  DR_DEVICE static void find(const Axis& a, int64_t i) { a.readers[i] = {first(a, i, false), first(a, i, true)}; }
  DR_DEVICE void operator()(int64_t i) const {
    if (i < y.in) find(y, i);
    else find(x, i - y.in);
  }
};

struct Tables {
  Axis y, x;
  Tables(const Context& ctx, const Resize2d& op, int64_t h, int64_t w)
      : y{h, op.out_h, nullptr, nullptr}, x{w, op.out_w, nullptr, nullptr} {
    y.taps = ctx.scratch_as<Tap>(size_t(op.out_h + op.out_w));
    x.taps = y.taps + op.out_h;
    y.readers = ctx.scratch_as<Readers>(size_t(h + w), size_t(op.out_h + op.out_w) * sizeof(Tap));
    x.readers = y.readers + h;
    for_each(ctx, op.out_h + op.out_w, FindTaps{y, x, op.interpolation});
  }
  void find_readers(const Context& ctx) const { for_each(ctx, y.in + x.in, FindReaders{y, x}); }
};

template <class T>
struct Resize {
  Pixels<const T> from;
  Axis y, x;
  ChannelParts parts;
  T* to;

  DR_DEVICE void operator()(int64_t item) const {
    const ChannelParts::Part part = parts(item);
    const PixelAt q = pixel_at(part.pixel, y.out, x.out);
    const Tap ty = y.taps[q.i], tx = x.taps[q.j];
    const auto at = [&](int64_t i, int64_t j) { return load_channels(from.at(q.n, i, j) + part.c, part); };
    const auto blend = [&](const Channels& a, const Channels& b, float f) {
      return for_channels([&](int c) { return between(a[c], b[c], f); });
    };
    // A neighbour of weight 0 is not read.
    const auto column = [&](int64_t j) { return ty.up == 0 ? at(ty.lo, j) : blend(at(ty.lo, j), at(ty.hi, j), ty.up); };
    const Channels left = column(tx.lo);
    store_channels(to + part.pixel * parts.channels + part.c, tx.up == 0 ? left : blend(left, column(tx.hi), tx.up),
                   part);
  }
};

template <class T>
struct ResizeBackward {
  const T* dy;
  Axis y, x;
  ChannelParts parts;
  T* dx;

  DR_DEVICE void operator()(int64_t item) const {
    const ChannelParts::Part part = parts(item);
    const PixelAt q = pixel_at(part.pixel, y.in, x.in);
    const Readers down = y.readers[q.i], along = x.readers[q.j];
    Channels sum = no_channels();
    for (int32_t o = down.begin; o < down.end; o++) {
      const T* const row = dy + (q.n * y.out + o) * x.out * parts.channels + part.c;
      Channels t = no_channels();
      for (int32_t p = along.begin; p < along.end; p++) {
        const float weight = tap_weight(x.taps[p], q.j);
        const Channels d = load_channels(row + p * parts.channels, part);
        t = for_channels([&](int c) { return fma(weight, d[c], t[c]); });
      }
      const float weight = tap_weight(y.taps[o], q.i);
      sum = for_channels([&](int c) { return fma(weight, t[c], sum[c]); });
    }
    store_channels(dx + part.pixel * parts.channels + part.c, sum, part);
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void Resize2d::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  if (out.y.count() == 0) return;
  CHECK(out.y.packed(), "resize2d: y must be packed");
  const Tables tables(ctx, *this, in.x.size(1), in.x.size(2));
  const ChannelParts parts = channel_parts(in.x.size(3), in.x, out.y);
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    for_each(ctx, in.x.size(0) * out_h * out_w * parts.parts,
             Resize<T>{pixels_of<const T>(in.x), tables.y, tables.x, parts, static_cast<T*>(out.y.data)});
  });
}

template <>
void Resize2d::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout, const Grad& grad) const {
  if (!grad.x || grad.x.count() == 0) return;
  CHECK(dout.y.packed() && grad.x.packed(), "resize2d: gradients must be packed");
  const Tables tables(ctx, *this, in.x.size(1), in.x.size(2));
  tables.find_readers(ctx);
  const ChannelParts parts = channel_parts(in.x.size(3), dout.y, grad.x);
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    for_each(
        ctx, in.x.size(0) * in.x.size(1) * in.x.size(2) * parts.parts,
        ResizeBackward<T>{static_cast<const T*>(dout.y.data), tables.y, tables.x, parts, static_cast<T*>(grad.x.data)});
  });
}

}  // namespace dr
