#include "kernels/rotary_table/rotary_table.h"

#include "kernels/core/math.h"

namespace dr {

using namespace DR_ISA;

template <>
void RotaryTable::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t count = axes(), half = frequencies(), rows = half ? out.cos.count() / half : 0;
  const std::vector<float> frequency = omega();
  constexpr int64_t kRowsPerPiece = 32;  // of parallel work: a thousand pairs are some microseconds
  ctx.parallel(rows, kRowsPerPiece, [&](int64_t begin, int64_t end) {
    std::vector<float> angle(static_cast<size_t>(half));
    for (int64_t r = begin; r < end; r++) {
      const int32_t* const position = in.position.as<int32_t>() + r * count;
      for (int64_t a = 0, j = 0; a < count; a++)
        for (int64_t last = j + share[size_t(a)]; j < last; j++)
          angle[size_t(j)] = float(position[a]) * frequency[size_t(j)];
      float *const c = out.cos.as<float>() + r * half, *const s = out.sin.as<float>() + r * half;
      for_vectors(half, [&](int64_t j, auto n) {
        const f32v v = load_n(angle.data() + j, n);
        store_n(c + j, cos(v), n);
        store_n(s + j, sin(v), n);
      });
    }
  });
}

}  // namespace dr
