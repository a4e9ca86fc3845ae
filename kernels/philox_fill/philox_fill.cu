#include "kernels/philox_fill/philox_fill.h"
#include "kernels/philox_fill/philox_fill_math.h"

#include "kernels/core/gpu_philox.h"

namespace dr {
namespace DR_BACKEND {
namespace {

struct FillBits {
  RandomElements random;
  uint32_t* y;
  DR_DEVICE void operator()(const BlockPart& part) const {
    const PhiloxWords w = random.block(part.block);
    DR_UNROLL
    for (int j = 0; j < kRun; j++)
      if (j >= part.from && j < part.to) y[part.i + j] = w.x[j];
  }
};

template <Distribution D, class T>
struct FillNumbers {
  RandomElements random;
  T* y;
  float a, b;
  DR_DEVICE void operator()(const BlockPart& part) const {
    const PhiloxWords w = random.block(part.block);
    Run numbers;
    if constexpr (takes_normals(D)) numbers = normals(w);
    else numbers = uniforms_below_one(w);
    store_part(y, make_run([&](int j) { return random_element<D>(numbers.v[j], a, b); }), part);
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void PhiloxFill::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t count = in.like.count();
  if (count == 0) return;
  CHECK(out.y.packed(), "philox_fill: y must be packed, got {} with gaps", to_string(out.y));
  const uint64_t first = ctx.first_sample * uint64_t(count / in.like.size(0));
  const RandomElements random{in.rng.as<uint32_t>(), ctx.op_id, first};
  if (distribution == Distribution::bits)
    return for_random_blocks(ctx, first, count, FillBits{random, out.y.as<uint32_t>()});
  with_float_type(in.like.dtype, [&]<class T>(T*) {
    with_distribution(distribution, [&]<Distribution D>() {
      for_random_blocks(ctx, first, count, FillNumbers<D, T>{random, static_cast<T*>(out.y.data), a, b});
    });
  });
}

}  // namespace dr
