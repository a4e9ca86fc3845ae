#include "kernels/float_to_image/float_to_image.h"
#include "kernels/float_to_image/float_to_image_math.h"

#include "kernels/core/stream.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kPiece = 16384;  // elements of parallel work

DR_INLINE void store_bytes(uint8_t* p, u32v v, int n) {
#if defined(DR_ISA_avx512)
  const __m128i bytes = _mm512_cvtepi32_epi8(bits<__m512i>(v));
#else
  typedef uint8_t u8v __attribute__((vector_size(W)));
  const u8v bytes = __builtin_convertvector(v, u8v);
#endif
  std::memcpy(p, &bytes, size_t(n));
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void FloatToImage::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  if (in.x.count() == 0) return;
  CHECK(out.y.packed(), "float_to_image: y must be packed");
  const int64_t rows = in.x.size(0), cols = in.x.count() / rows;
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    for_pieces(ctx, rows, cols, kPiece, false, [&](int64_t r, int64_t c, int64_t n) {
      const T* x = static_cast<const T*>(in.x.data) + r * in.x.stride(0) + c;
      uint8_t* y = static_cast<uint8_t*>(out.y.data) + r * cols + c;
      for_vectors(n, [&](int64_t i, auto m) {
        read_ahead(x + i);
        store_bytes(y + i, float_to_image(load_n(x + i, m)), m);
      });
    });
  });
}

}  // namespace dr
