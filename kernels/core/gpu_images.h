#pragma once
// Images (N,H,W,C) of any strides but a contiguous last axis on a device: one thread per element, neighbours along C.
// Last include of a `.cu`, as gpu.h.

#include "kernels/core/gpu_elementwise.h"

namespace dr::DR_BACKEND {

template <class T>
struct ImagesOf {
  T* data;
  int64_t n, h, w;  // strides
  DR_DEVICE T* pixel(int64_t ni, int64_t hi, int64_t wi) const { return data + ni * n + hi * h + wi * w; }
};
template <class T>
ImagesOf<T> images_of(const View& v) {
  return {static_cast<T*>(v.data), v.stride(0), v.stride(1), v.stride(2)};
}

// f(n, h, w, c) for every element of a tensor of v's sizes.
template <class F>
struct AtElement {
  int64_t h, w, c;
  F f;
  DR_DEVICE void operator()(int64_t i) const {
    const int64_t pixel = i / c, line = pixel / w;
    f(line / h, line % h, pixel % w, i % c);
  }
};
template <class F>
void for_image_elements(const Context& ctx, const View& v, const F& f) {
  for_each(ctx, v.count(), AtElement<F>{v.size(1), v.size(2), v.size(3), f});
}

}  // namespace dr::DR_BACKEND
