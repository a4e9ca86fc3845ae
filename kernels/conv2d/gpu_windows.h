#pragma once
// The windows of an image on a device: where place t of an image's places finds tap (jh, jw), as geometry.h says. Last
// include of a `.cu`, as gpu.h.

#include "kernels/conv2d/geometry.h"

#include "kernels/core/gpu_divide.h"

namespace dr::DR_BACKEND {

// AxisTaps by arithmetic: its lists are evenly spaced.
struct AxisWalk {
  int count, taps, step, offset, offset_step, kernel, kernel_step, out_first, out_step;

  explicit AxisWalk(const AxisTaps& a)
      : count(int(a.count)), taps(int(a.taps())), step(int(a.step)), offset(first(a.offset)),
        offset_step(spacing(a.offset)), kernel(first(a.kernel)), kernel_step(spacing(a.kernel)),
        out_first(int(a.out_first)), out_step(int(a.out_step)) {}
  DR_DEVICE int at(int place, int tap) const { return place * step + offset + tap * offset_step; }
  DR_DEVICE int kernel_at(int tap) const { return kernel + tap * kernel_step; }
  DR_DEVICE int out(int place) const { return out_first + place * out_step; }

 private:
  static int first(const std::vector<int64_t>& list) { return list.empty() ? 0 : int(list[0]); }
  static int spacing(const std::vector<int64_t>& list) { return list.size() < 2 ? 0 : int(list[1] - list[0]); }
};

// An image (N,H,W,C) and its places (N, h, w), counted in that order.
struct Windows {
  struct Place {
    int n, h, w;
  };
  struct Tap {
    int h, w, c;
  };
  const void* data;
  bool is_bf16;
  int height, width;
  int64_t stride_n, stride_h, stride_w;
  AxisWalk h, w;
  Divisor places_h, places_w, channels, taps_w;

  // `channels_` of a group.
  Windows(const View& image, const AxisTaps& h_, const AxisTaps& w_, int64_t channels_)
      : data(image.data), is_bf16(image.dtype == DType::bf16), height(int(image.size(1))), width(int(image.size(2))),
        stride_n(image.stride(0)), stride_h(image.stride(1)), stride_w(image.stride(2)), h(h_), w(w_),
        places_h(std::max<int64_t>(1, h_.count)), places_w(std::max<int64_t>(1, w_.count)),
        channels(std::max<int64_t>(1, channels_)), taps_w(std::max<int64_t>(1, w_.taps())) {
    CHECK(image.size(0) * h_.count * w_.count <= INT32_MAX && h_.taps() * w_.taps() * channels_ <= INT32_MAX,
          "conv2d: {} x {} x {} places of {} elements; accepted: up to {} of each", image.size(0), h_.count, w_.count,
          h_.taps() * w_.taps() * channels_, INT32_MAX);
  }
  DR_DEVICE Place place(uint32_t i) const {
    const auto [rows, x] = places_w(i);
    const auto [n, y] = places_h(rows);
    return {int(n), int(y), int(x)};
  }
  // Column i of a patch.
  DR_DEVICE Tap tap(uint32_t i) const {
    const auto [taps, c] = channels(i);
    const auto [y, x] = taps_w(taps);
    return {int(y), int(x), int(c)};
  }
  // +0 outside the image.
  DR_DEVICE float at(const Place& p, const Tap& t, int64_t channel0) const {
    const int y = h.at(p.h, t.h), x = w.at(p.w, t.w);
    if (unsigned(y) >= unsigned(height) || unsigned(x) >= unsigned(width)) return 0.f;
    const int64_t i = p.n * stride_n + y * stride_h + x * stride_w + channel0 + t.c;
    return is_bf16 ? load1(static_cast<const bf16*>(data) + i) : load1(static_cast<const float*>(data) + i);
  }
};

}  // namespace dr::DR_BACKEND
