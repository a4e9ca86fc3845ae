#pragma once
// Images with their channels side by side, on a device: a thread takes up to four channels of a pixel, neighbours those
// that lie beside. Last include of a `.cu`, as gpu.h.

#include "kernels/core/gpu_elementwise.h"

namespace dr::DR_BACKEND {

// Up to four channels, or one value for each of them.
struct Channels {
  float v[4];
  DR_DEVICE float& operator[](int i) { return v[i]; }
  DR_DEVICE float operator[](int i) const { return v[i]; }
};
// f of each.
template <class F>
DR_DEVICE Channels for_channels(F&& f) {
  Channels c;
  DR_UNROLL
  for (int i = 0; i < 4; i++) c[i] = f(i);
  return c;
}
DR_DEVICE Channels no_channels() {
  return for_channels([](int) { return 0.f; });
}

// How a call's pixels are shared out: item i is channels c .. c + n - 1 of pixel i / parts.
struct ChannelParts {
  int64_t channels, parts;
  bool whole;  // all four, at addresses that are multiples of four elements

  struct Part {
    int64_t pixel, c;
    int n;  // 1 to 4, or none where there are no channels at all
    bool whole;
  };
  DR_DEVICE Part operator()(int64_t i) const {
    const int64_t pixel = i / parts, c = (i - pixel * parts) * 4;
    return {pixel, c, channels - c < 4 ? int(channels - c) : 4, whole};
  }
};
// Views that have the channels as their last axis; an absent one is not looked at.
template <class... V>
ChannelParts channel_parts(int64_t channels, const V&... views) {
  const auto aligned = [](const View& v) {
    const int64_t bytes = 4 * int64_t(size_of(v.dtype));
    bool all = reinterpret_cast<uintptr_t>(v.data) % size_t(bytes) == 0;
    for (int axis = 0; axis + 1 < v.rank(); axis++) all &= v.stride(axis) % 4 == 0;
    return all;
  };
  return {channels, channels > 4 ? (channels + 3) / 4 : 1,
          channels % 4 == 0 && channels > 0 && ((!views || aligned(views)) && ...)};
}

namespace channels_detail {
template <class T>
struct alignas(4 * sizeof(T)) Four {
  T v[4];
};
}  // namespace channels_detail

// p: of the part's first channel.
template <class T>
DR_DEVICE Channels load_channels(const T* p, const ChannelParts::Part& part) {
  if (part.whole) {
    const auto four = load_vector<channels_detail::Four<T>>(p);
    return for_channels([&](int i) { return load1(four.v + i); });
  }
  return for_channels([&](int i) { return i < part.n ? load1(p + i) : 0.f; });
}
template <class T>
DR_DEVICE void store_channels(T* p, const Channels& c, const ChannelParts::Part& part) {
  if (part.whole) {
    channels_detail::Four<T> four;
    DR_UNROLL
    for (int i = 0; i < 4; i++) store1(four.v + i, c[i]);
    store_vector(p, four);
    return;
  }
  DR_UNROLL
  for (int i = 0; i < 4; i++)
    if (i < part.n) store1(p + i, c[i]);
}

// A packed or strided (N,H,W,C) or (N,H,W) in memory: its elements from one image, row and pixel to the next.
template <class T>
struct Pixels {
  T* data;
  int64_t image, row, column;
  DR_DEVICE T* at(int64_t n, int64_t i, int64_t j) const { return data + n * image + i * row + j * column; }
};
template <class T>
Pixels<T> pixels_of(const View& v) {
  return {static_cast<T*>(v.data), v.stride(0), v.stride(1), v.rank() == 4 ? v.stride(2) : 1};
}

// Pixel i of images of h x w, counted in row-major order.
struct PixelAt {
  int64_t n, i, j;
};
DR_DEVICE PixelAt pixel_at(int64_t i, int64_t h, int64_t w) {
  const int64_t r = i / w;
  return {r / h, r % h, i % w};
}

}  // namespace dr::DR_BACKEND
