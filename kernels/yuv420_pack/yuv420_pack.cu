#include "kernels/yuv420_pack/yuv420_pack.h"
#include "kernels/yuv420_pack/yuv420_pack_math.h"

#include "kernels/core/gpu_images.h"

namespace dr {
namespace DR_BACKEND {
namespace {

// A thread per block of 2 x 2 pixels.
template <class T>
struct Blocks {
  ImagesOf<T> x;
  T* channels;
  int64_t rows, cols;  // of blocks
  // f(pixels of block i in the order of the luma channels, its six channels).
  template <class F>
  DR_DEVICE void at(int64_t i, F&& f) const {
    const int64_t line = i / cols, h = line % rows * 2, w = i % cols * 2;
    T* const upper = x.pixel(line / rows, h, w);
    T* const pixel[4] = {upper, upper + x.h, upper + x.w, upper + x.h + x.w};
    f(pixel, channels + i * 6);
  }
};
template <class T>
Blocks<T> blocks(const View& x, const View& y) {
  return {images_of<T>(x), static_cast<T*>(y.data), y.size(1), y.size(2)};
}

template <class T>
struct PackBlock {
  Blocks<T> blocks;
  DR_DEVICE void operator()(int64_t i) const {
    blocks.at(i, [](T* const(&p)[4], T* y) {
      const T* const pixel[4] = {p[0], p[1], p[2], p[3]};
      pack_block(pixel, y);
    });
  }
};
template <class T>
struct UnpackGradient {
  Blocks<T> blocks;
  DR_DEVICE void operator()(int64_t i) const {
    blocks.at(i, [](T* const(&dpixel)[4], const T* dy) {
      T own[6];  // read at once: no store comes between
      DR_UNROLL
      for (int k = 0; k < 6; k++) own[k] = dy[k];
      unpack_gradient<T>(own, dpixel);
    });
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void Yuv420Pack::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  auto pack = [&]<class T>(T*) { for_each(ctx, out.y.count() / 6, PackBlock<T>{blocks<T>(in.x, out.y)}); };
  if (in.x.dtype == DType::u8) pack(static_cast<uint8_t*>(nullptr));
  else with_float_type(in.x.dtype, pack);
}

template <>
void Yuv420Pack::backward<kBackend>(Context& ctx, const In&, const Out&, const OutGrad& dout, const Grad& grad) const {
  if (!grad.x) return;
  with_float_type(grad.x.dtype, [&]<class T>(T*) {
    for_each(ctx, dout.y.count() / 6, UnpackGradient<T>{blocks<T>(grad.x, dout.y)});
  });
}

}  // namespace dr
