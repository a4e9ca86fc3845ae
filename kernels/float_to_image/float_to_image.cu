#include "kernels/float_to_image/float_to_image.h"
#include "kernels/float_to_image/float_to_image_math.h"

#include "kernels/core/gpu_convert.h"

namespace dr {
namespace DR_BACKEND {
namespace {

template <class T>
struct ToByte {
  DR_DEVICE uint8_t operator()(T x) const { return uint8_t(float_to_image(load1(&x))); }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void FloatToImage::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(in.x.dtype, [&]<class T>(T*) { convert<T, uint8_t>(ctx, in.x, out.y, ToByte<T>{}); });
}

}  // namespace dr
