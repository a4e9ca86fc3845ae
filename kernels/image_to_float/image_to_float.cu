#include "kernels/image_to_float/image_to_float.h"
#include "kernels/image_to_float/image_to_float_math.h"

#include "kernels/core/gpu_convert.h"

namespace dr {
namespace DR_BACKEND {
namespace {

template <class T>
struct FromByte {
  DR_DEVICE T operator()(uint8_t x) const {
    T y;
    store1(&y, image_to_float(float(x)));
    return y;
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void ImageToFloat::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  with_float_type(dtype, [&]<class T>(T*) { convert<uint8_t, T>(ctx, in.x, out.y, FromByte<T>{}); });
}

}  // namespace dr
