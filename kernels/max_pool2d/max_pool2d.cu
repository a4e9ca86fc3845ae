#include "kernels/max_pool2d/max_pool2d.h"

#include "kernels/core/gpu_images.h"
#include "kernels/core/total_order.h"

namespace dr {
namespace DR_BACKEND {
namespace {

template <class T>
struct MaxOfWindow {
  WindowAxis along_h, along_w;
  ImagesOf<const T> x;
  ImagesOf<T> y;
  ImagesOf<int32_t> index;
  DR_DEVICE void operator()(int64_t n, int64_t i, int64_t j, int64_t c) const {
    const WindowAxis::Run down = along_h.window(i), across = along_w.window(j);
    const int64_t top = i * along_h.stride - along_h.padding, left = j * along_w.stride - along_w.padding;
    int32_t best = INT32_MIN, at = 0;  // below every key
    for (int64_t h = down.begin; h < down.end; h++)
      for (int64_t w = across.begin; w < across.end; w++) {
        const int32_t key = order_key(load1(x.pixel(n, h, w) + c));
        if (key <= best) continue;  // the first of equal keys stays
        best = key, at = int32_t((h - top) * along_w.kernel + w - left);
      }
    store1(y.pixel(n, i, j) + c, from_order_key(best));
    index.pixel(n, i, j)[c] = at;
  }
};
template <class T>
struct SumOfWon {
  WindowAxis along_h, along_w;
  ImagesOf<const T> dy;
  ImagesOf<const int32_t> index;
  ImagesOf<T> dx;
  DR_DEVICE void operator()(int64_t n, int64_t h, int64_t w, int64_t c) const {
    const WindowAxis::Run down = along_h.holders(h), across = along_w.holders(w);
    float sum = 0;
    for (int64_t i = down.begin; i < down.end; i++)
      for (int64_t j = across.begin; j < across.end; j++) {
        const int64_t kh = h + along_h.padding - i * along_h.stride, kw = w + along_w.padding - j * along_w.stride;
        if (index.pixel(n, i, j)[c] == int32_t(kh * along_w.kernel + kw)) sum += load1(dy.pixel(n, i, j) + c);
      }
    store1(dx.pixel(n, h, w) + c, sum);
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void MaxPool2d::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const Sizes x = in.x.sizes, y = out.y.sizes;
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    for_image_elements(ctx, out.y, MaxOfWindow<T>{along_h(x, y), along_w(x, y), images_of<const T>(in.x),
                                                  images_of<T>(out.y), images_of<int32_t>(out.index)});
  });
}

template <>
void MaxPool2d::backward<kBackend>(Context& ctx, const In& in, const Out& saved, const OutGrad& dy,
                                   const Grad& grad) const {
  if (!grad.x) return;
  const Sizes x = in.x.sizes, y = dy.y.sizes;
  with_float_type(grad.x.dtype, [&]<class T>(T*) {
    for_image_elements(ctx, grad.x, SumOfWon<T>{along_h(x, y), along_w(x, y), images_of<const T>(dy.y),
                                                images_of<const int32_t>(saved.index), images_of<T>(grad.x)});
  });
}

}  // namespace dr
