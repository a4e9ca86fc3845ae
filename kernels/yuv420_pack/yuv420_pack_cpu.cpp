#include "kernels/yuv420_pack/yuv420_pack.h"

#include <algorithm>

#include "kernels/yuv420_pack/yuv420_pack_math.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kPiece = 4096;  // blocks of 2 x 2 pixels of parallel work

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
