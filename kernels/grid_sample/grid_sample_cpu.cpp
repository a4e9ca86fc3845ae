#include "kernels/grid_sample/grid_sample.h"

#include "kernels/core/stream.h"
#include "kernels/core/work_items.h"
#include "kernels/grid_sample/bilinear.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kPiece = 512;  // samples of parallel work: some 10 microseconds

struct Grid {
  GridSample::Unit x, y;
  const float* at;  // of the run's first sample
  DR_INLINE Pairs operator()(int64_t i, auto n) const {
    const Pairs p = load_pairs(at + 2 * i, n);
    return {fma(p.a, splat(x.scale), splat(x.offset)), fma(p.b, splat(y.scale), splat(y.offset))};
  }
};

Grid grid_of(const GridSample& op, const GridSample::In& in, int64_t n, int64_t first) {
  return {{op.coordinates, in.x.size(2)}, {op.coordinates, in.x.size(1)},
          in.grid.as<float>() + n * in.grid.stride(0) + 2 * first};
}

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void GridSample::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t samples = in.grid.size(1) * in.grid.size(2), channels = in.x.size(3);
  CHECK(out.y.packed(), "grid_sample: y must be packed");
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    with_channels(channels, [&](auto c) {
      for_pieces(ctx, in.x.size(0), samples, kPiece, false, [&](int64_t n, int64_t first, int64_t count) {
        sample_run<c>(sampled_image<T>(in.x, n, padding), count, grid_of(*this, in, n, first),
                      static_cast<T*>(out.y.data) + (n * samples + first) * channels);
      });
    });
  });
}

template <>
void GridSample::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout,
                                    const Grad& grad) const {
  const int64_t samples = in.grid.size(1) * in.grid.size(2), channels = in.x.size(3);
  for (const View* v : {&dout.y, &grad.x, &grad.grid})
    CHECK(!*v || v->packed(), "grid_sample: gradients must be packed");
  with_float_type(in.x.dtype, [&]<class T>(T*) {
    const T* const dy = static_cast<const T*>(dout.y.data);
    with_channels(channels, [&](auto c) {
      if (grad.grid) {
        for_pieces(ctx, in.x.size(0), samples, kPiece, false, [&](int64_t n, int64_t first, int64_t count) {
          const Grid grid = grid_of(*this, in, n, first);
          float* const dgrid = grad.grid.as<float>() + 2 * (n * samples + first);
          slope_run<c>(sampled_image<T>(in.x, n, padding), count, grid, dy + (n * samples + first) * channels,
                       [&](int64_t i, Pairs slope, auto m) {
                         store_pairs(dgrid + 2 * i, splat(grid.x.scale) * slope.a, splat(grid.y.scale) * slope.b, m);
                       });
        });
      }
      if (grad.x)
        scatter_bands<c, T>(ctx, grad.x, padding, 0, [&](int64_t n, auto&& add) {
          add(samples, grid_of(*this, in, n, 0), dy + n * samples * channels);
        });
    });
  });
}

}  // namespace dr
