#include "kernels/philox_fill/philox_fill.h"
#include "kernels/philox_fill/philox_fill_math.h"

#include "kernels/core/stream.h"
#include "kernels/core/philox_simd.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kPiece = 8192;  // elements of parallel work; whole runs of for_random, so inner pieces waste nothing

// y[begin, end) for values(words, v).
template <class T, class Values>
void fill(const RandomStream& s, uint64_t first, T* y, int64_t begin, int64_t end, bool stream, Values&& values) {
  for_random(s, first + uint64_t(begin), end - begin, values,
             [&](int64_t i, f32v v, auto n) { put(y + begin + i, v, n, stream); });
}

template <Distribution D, class T>
void fill_piece(const PhiloxFill& op, const RandomStream& s, uint64_t first, T* y, int64_t begin, int64_t end,
                bool stream) {
  fill(s, first, y, begin, end, stream, [&](const PhiloxVectors& w, f32v (&v)[4]) {
    if constexpr (takes_normals(D)) {
      normal_pair(w.x[0], w.x[1], v[0], v[1]);
      normal_pair(w.x[2], w.x[3], v[2], v[3]);
    } else {
      for (int j = 0; j < 4; j++) v[j] = uniform_below_one(w.x[j]);
    }
    for (int j = 0; j < 4; j++) v[j] = random_element<D>(v[j], op.a, op.b);
  });
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void PhiloxFill::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t count = in.like.count();
  if (count == 0) return;
  CHECK(out.y.packed(), "philox_fill: y must be packed, got {} with gaps", to_string(out.y));
  const RandomStream s = random_stream(in.rng.as<uint32_t>(), ctx.op_id);
  const uint64_t first = ctx.first_sample * uint64_t(count / in.like.size(0));
  const View flat(out.y.data, out.y.dtype, {count});
  const bool stream = first % 4 == 0 && streams(flat);  // elsewhere the vectors of a run straddle cache lines
  const int64_t pieces = (count + kPiece - 1) / kPiece;
  ctx.parallel(pieces, 1, [&](int64_t b, int64_t e) {
    const int64_t begin = b * kPiece, end = e * kPiece < count ? e * kPiece : count;
    if (distribution == Distribution::bits) {
      // Bits travel as they are: f32 vectors are moved, never computed with.
      fill(s, first, static_cast<float*>(out.y.data), begin, end, stream, [](const PhiloxVectors& w, f32v (&v)[4]) {
        for (int j = 0; j < 4; j++) v[j] = bits<f32v>(w.x[j]);
      });
    } else {
      with_float_type(in.like.dtype, [&]<class T>(T*) {
        with_distribution(distribution, [&]<Distribution D>() {
          fill_piece<D>(*this, s, first, static_cast<T*>(out.y.data), begin, end, stream);
        });
      });
    }
    stream_fence(stream);
  });
}

}  // namespace dr
