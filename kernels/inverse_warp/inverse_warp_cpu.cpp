#include "kernels/inverse_warp/inverse_warp.h"

#include "kernels/core/stream.h"
#include "kernels/grid_sample/bilinear.h"
#include "kernels/project_depth/pose_sums.h"

namespace dr {
namespace DR_ISA {
namespace {

constexpr int64_t kRows = 2;  // of parallel work: some 10 microseconds

// The pixels of row v of the depth map of sample n.
struct Row {
  Projection p;
  int64_t v;
  const float* depth;

  Row(const InverseWarp::In& in, int64_t n, int64_t v_)
      : p(Projections(in.camera, in.to_camera, in.pose)(n)),
        v(v_),
        depth(in.depth.as<float>() + n * in.depth.stride(0) + v * in.depth.stride(1)) {}
  DR_INLINE Projected at(int64_t u, auto n) const { return Projected(p, row_rays(p, u, v), load_n(depth + u, n)); }
  DR_INLINE Pairs operator()(int64_t u, auto n) const {
    const Projected q = at(u, n);
    return {q.x, q.y};
  }
};

}  // namespace
}  // namespace DR_ISA

using namespace DR_ISA;

template <>
void InverseWarp::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t rows = in.depth.size(1), width = in.depth.size(2), channels = in.image.size(3);
  CHECK(out.y.packed() && out.mask.packed(), "inverse_warp: y and mask must be packed");
  const f32v last_x = splat(float(in.image.size(2) - 1)), last_y = splat(float(in.image.size(1) - 1)), zero{};
  with_float_type(in.image.dtype, [&]<class T>(T*) {
    with_channels(channels, [&](auto c) {
      for_pieces(ctx, in.depth.size(0), rows, kRows, false, [&](int64_t n, int64_t first, int64_t count) {
        for (int64_t v = first; v < first + count; v++) {
          const Row row(in, n, v);
          float* const mask = out.mask.as<float>() + (n * rows + v) * width;
          sample_run<c>(
              sampled_image<T>(in.image, n, padding), width,
              [&](int64_t u, auto m) {
                const Projected q = row.at(u, m);
                const i32v seen = (q.x >= zero) & (q.x <= last_x) & (q.y >= zero) & (q.y <= last_y);
                store_n(mask + u, pick(seen, splat(1), zero), m);
                return Pairs{q.x, q.y};
              },
              static_cast<T*>(out.y.data) + (n * rows + v) * width * channels);
        }
      });
    });
  });
}

template <>
void InverseWarp::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout,
                                     const Grad& grad) const {
  const int64_t rows = in.depth.size(1), width = in.depth.size(2), channels = in.image.size(3);
  for (const View* v : {&dout.y, &grad.image, &grad.depth, &grad.pose})
    CHECK(!*v || v->packed(), "inverse_warp: gradients must be packed");
  const PoseSums pose_sums(ctx, in.depth, 0);
  with_float_type(in.image.dtype, [&]<class T>(T*) {
    const T* const dy = static_cast<const T*>(dout.y.data);
    with_channels(channels, [&](auto c) {
      if (grad.depth || grad.pose)
        for_pieces(ctx, in.depth.size(0), rows, kRows, false, [&](int64_t n, int64_t first, int64_t count) {
          for (int64_t v = first; v < first + count; v++) {
            const Row row(in, n, v);
            const int64_t at = (n * rows + v) * width;
            PoseSums::Row sums;
            slope_run<c>(sampled_image<T>(in.image, n, padding), width, row, dy + at * channels,
                         [&](int64_t u, Pairs slope, auto m) {
                           const Rays rays = row_rays(row.p, u, v);
                           const f32v d = load_n(row.depth + u, m);
                           const PointGradient g(row.p, rays, Projected(row.p, rays, d), slope.a, slope.b, f32v{});
                           if (grad.depth) store_n(grad.depth.as<float>() + at + u, g.depth, m);
                           sums.add(u, rays, d, g);
                         });
            pose_sums.store_row(n, v, sums);
          }
        });
      if (grad.image)
        scatter_bands<c, T>(ctx, grad.image, padding, (pose_sums_bytes(in.depth) + 63) / 64 * 64,
                            [&](int64_t n, auto&& add) {
                              for (int64_t v = 0; v < rows; v++)
                                add(width, Row(in, n, v), dy + (n * rows + v) * width * channels);
                            });
    });
  });
  if (!grad.pose) return;
  ctx.parallel(in.depth.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; n++)
      pose_sums.finish(n, Projections(in.camera, in.to_camera, in.pose)(n), grad.pose.as<float>() + 12 * n);
  });
}

}  // namespace dr
