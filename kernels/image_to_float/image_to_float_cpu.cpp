#include "kernels/image_to_float/image_to_float.h"
#include "kernels/image_to_float/image_to_float_math.h"

#include "kernels/core/stream.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kPiece = 16384;  // elements of parallel work

DR_INLINE f32v load_bytes(const uint8_t* p, int n) {
  uint8_t bytes[W] = {};
  std::memcpy(bytes, p, size_t(n));
#if defined(DR_ISA_avx512)
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes))));
#elif defined(DR_ISA_avx2)
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes))));
#else
  f32v v;
  for (int i = 0; i < W; i++) v[i] = bytes[i];
  return v;
#endif
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void ImageToFloat::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  if (in.x.count() == 0) return;
  CHECK(out.y.packed(), "image_to_float: y must be packed");
  const int64_t rows = in.x.size(0), cols = in.x.count() / rows;
  const bool stream = streams(View(out.y.data, out.y.dtype, {rows, cols}));
  with_float_type(dtype, [&]<class T>(T*) {
    for_pieces(ctx, rows, cols, kPiece, stream, [&](int64_t r, int64_t c, int64_t n) {
      const uint8_t* x = static_cast<const uint8_t*>(in.x.data) + r * in.x.stride(0) + c;
      T* y = static_cast<T*>(out.y.data) + r * cols + c;
      for_vectors(n, [&](int64_t i, auto m) {
        put(y + i, image_to_float(load_bytes(x + i, m)), m, stream);
      });
    });
  });
}

}  // namespace dr
