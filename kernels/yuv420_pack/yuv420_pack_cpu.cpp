#include "kernels/yuv420_pack/yuv420_pack.h"

#include <algorithm>

#include "kernels/core/simd.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kPiece = 4096;  // blocks of 2 x 2 pixels of parallel work
constexpr float kLuma = float(16 / 127.5 - 17.0 / 128), kGrey = float(1.0 / 255);

// One block: pixels in the order of the luma channels.
DR_INLINE void pack_block(const uint8_t* const (&pixel)[4], uint8_t* y) {
  int sum[3] = {1, 1, 1};
  for (int p = 0; p < 4; p++) {
    const int r = pixel[p][0], g = pixel[p][1], b = pixel[p][2];
    y[p] = uint8_t(((33 * r + 65 * g + 13 * b + 64) >> 7) + 16);
    sum[0] += r, sum[1] += g, sum[2] += b;
  }
  const int r = sum[0] >> 1, g = sum[1] >> 1, b = sum[2] >> 1;
  y[4] = uint8_t((56 * b - 37 * g - 19 * r + 0x8080) >> 8);
  y[5] = uint8_t((56 * r - 47 * g - 9 * b + 0x8080) >> 8);
}
template <class T>
DR_INLINE void pack_block(const T* const (&pixel)[4], T* y) {
  float v[4][3], sum[3];
  for (int p = 0; p < 4; p++)
    for (int c = 0; c < 3; c++) v[p][c] = load1(pixel[p] + c);
  for (int c = 0; c < 3; c++) sum[c] = (v[0][c] + v[2][c]) + (v[1][c] + v[3][c]);
  for (int p = 0; p < 4; p++)
    store1(y + p, fma(33.f / 128, v[p][0], fma(65.f / 128, v[p][1], fma(13.f / 128, v[p][2], kLuma))));
  store1(y + 4, fma(112.f / 1024, sum[2] - sum[1], fma(38.f / 1024, sum[1] - sum[0], kGrey)));
  store1(y + 5, fma(112.f / 1024, sum[0] - sum[1], fma(18.f / 1024, sum[1] - sum[2], kGrey)));
}

template <class T>
DR_INLINE void unpack_gradient(const T* dy, T* const (&dpixel)[4]) {
  const float du = load1(dy + 4), dv = load1(dy + 5);
  const float r = fma(112.f / 1024, dv, -38.f / 1024 * du), g = fma(-94.f / 1024, dv, -74.f / 1024 * du),
              b = fma(-18.f / 1024, dv, 112.f / 1024 * du);
  for (int p = 0; p < 4; p++) {
    const float d = load1(dy + p);
    store1(dpixel[p], fma(33.f / 128, d, r));
    store1(dpixel[p] + 1, fma(65.f / 128, d, g));
    store1(dpixel[p] + 2, fma(13.f / 128, d, b));
  }
}

// f(pixels of the block in the order of the luma channels, its six channels) for every block.
template <class T, class F>
void for_blocks(Context& ctx, const View& x, const View& y, F&& f) {
  const int64_t rows = y.size(1), cols = y.size(2), right = x.stride(2);
  if (y.count() == 0) return;
  ctx.parallel(y.size(0) * rows, std::max<int64_t>(1, kPiece / cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      T* upper = static_cast<T*>(x.data) + r / rows * x.stride(0) + r % rows * 2 * x.stride(1);
      T* lower = upper + x.stride(1);
      T* channels = static_cast<T*>(y.data) + r * cols * 6;
      for (int64_t c = 0; c < cols; c++, upper += 2 * right, lower += 2 * right, channels += 6)
        f({upper, lower, upper + right, lower + right}, channels);
    }
  });
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void Yuv420Pack::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  CHECK(out.y.packed(), "yuv420_pack: y must be packed");
  auto pack = [&]<class T>(T*) {
    for_blocks<T>(ctx, in.x, out.y, [](const T* const(&pixel)[4], T* y) { pack_block(pixel, y); });
  };
  if (in.x.dtype == DType::u8) pack(static_cast<uint8_t*>(nullptr));
  else with_float_type(in.x.dtype, pack);
}

template <>
void Yuv420Pack::backward<kBackend>(Context& ctx, const In&, const Out&, const OutGrad& dout, const Grad& grad) const {
  if (!grad.x) return;
  CHECK(dout.y.packed() && grad.x.packed(), "yuv420_pack: gradients must be packed");
  with_float_type(grad.x.dtype, [&]<class T>(T*) {
    for_blocks<T>(ctx, grad.x, dout.y, [](T* const(&dpixel)[4], T* dy) { unpack_gradient<T>(dy, dpixel); });
  });
}

}  // namespace dr
