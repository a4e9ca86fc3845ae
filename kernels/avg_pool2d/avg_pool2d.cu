#include "kernels/avg_pool2d/avg_pool2d.h"

#include "kernels/core/gpu_images.h"
#include "kernels/core/gpu_rows.h"

namespace dr {
namespace DR_BACKEND {
namespace {

// The sum of term(h, w) over a box of pixels in ascending order, in chunks of 512.
template <class Term>
DR_DEVICE float box_sum(WindowAxis::Run down, WindowAxis::Run across, const Term& term) {
  float sum = 0, chunk = 0;
  int64_t length = 0;
  for (int64_t h = down.begin; h < down.end; h++)
    for (int64_t w = across.begin; w < across.end; w++) {
      if (length++ == kChainChunk) sum += chunk, chunk = 0, length = 1;
      chunk += term(h, w);
    }
  return sum + chunk;
}

struct Windows {
  WindowAxis h, w;
  bool count_include_pad;
  DR_DEVICE float count(int64_t i, int64_t j) const {
    return float(count_include_pad ? int64_t{h.kernel} * w.kernel : h.window(i).count() * w.window(j).count());
  }
};

template <class T>
struct MeanOfWindow {
  Windows windows;
  ImagesOf<const T> x;
  ImagesOf<T> y;
  DR_DEVICE void operator()(int64_t n, int64_t i, int64_t j, int64_t c) const {
    const float sum = box_sum(windows.h.window(i), windows.w.window(j),
                              [&](int64_t h, int64_t w) { return load1(x.pixel(n, h, w) + c); });
    store1(y.pixel(n, i, j) + c, sum / windows.count(i, j));
  }
};
template <class T>
struct SumOfHolders {
  Windows windows;
  ImagesOf<const T> dy;
  ImagesOf<T> dx;
  DR_DEVICE void operator()(int64_t n, int64_t h, int64_t w, int64_t c) const {
    store1(dx.pixel(n, h, w) + c, box_sum(windows.h.holders(h), windows.w.holders(w), [&](int64_t i, int64_t j) {
             return load1(dy.pixel(n, i, j) + c) / windows.count(i, j);
           }));
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void AvgPool2d::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const Windows windows{along_h(in.x.sizes, out.y.sizes), along_w(in.x.sizes, out.y.sizes), count_include_pad};
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    for_image_elements(ctx, out.y, MeanOfWindow<T>{windows, images_of<const T>(in.x), images_of<T>(out.y)});
  });
}

template <>
void AvgPool2d::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dy, const Grad& grad) const {
  if (!grad.x) return;
  const Windows windows{along_h(in.x.sizes, dy.y.sizes), along_w(in.x.sizes, dy.y.sizes), count_include_pad};
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    for_image_elements(ctx, grad.x, SumOfHolders<T>{windows, images_of<const T>(dy.y), images_of<T>(grad.x)});
  });
}

}  // namespace dr
