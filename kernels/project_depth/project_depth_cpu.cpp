#include "kernels/project_depth/project_depth.h"

#include "kernels/core/stream.h"
#include "kernels/project_depth/pose_sums.h"

namespace dr {

using namespace DR_ISA;

template <>
void ProjectDepth::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  const int64_t rows = in.depth.size(1), width = in.depth.size(2);
  CHECK(out.grid.packed() && out.z.packed(), "project_depth: grid and z must be packed");
  for_pieces(ctx, in.depth.size(0), rows, 4, false, [&](int64_t n, int64_t first, int64_t count) {
    const Projection p = Projections(in.camera, in.to_camera, in.pose)(n);
    for (int64_t v = first; v < first + count; v++) {
      const float* const depth = in.depth.as<float>() + n * in.depth.stride(0) + v * in.depth.stride(1);
      float* const grid = out.grid.as<float>() + 2 * (n * rows + v) * width;
      float* const z = out.z.as<float>() + (n * rows + v) * width;
      for_vectors(width, [&](int64_t u, auto m) {
        const Projected at(p, row_rays(p, u, v), load_n(depth + u, m));
        store_pairs(grid + 2 * u, at.x, at.y, m);
        store_n(z + u, at.z, m);
      });
    }
  });
}

template <>
void ProjectDepth::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout,
                                      const Grad& grad) const {
  if (!grad.depth && !grad.pose) return;
  const int64_t rows = in.depth.size(1), width = in.depth.size(2);
  for (const View* v : {&dout.grid, &dout.z, &grad.depth, &grad.pose})
    CHECK(!*v || v->packed(), "project_depth: gradients must be packed");
  const PoseSums pose_sums(ctx, in.depth, 0);
  for_pieces(ctx, in.depth.size(0), rows, 4, false, [&](int64_t n, int64_t first, int64_t count) {
    const Projection p = Projections(in.camera, in.to_camera, in.pose)(n);
    for (int64_t v = first; v < first + count; v++) {
      const float* const depth = in.depth.as<float>() + n * in.depth.stride(0) + v * in.depth.stride(1);
      const int64_t at = (n * rows + v) * width;
      PoseSums::Row sums;
      for_vectors(width, [&](int64_t u, auto m) {
        const Rays rays = row_rays(p, u, v);
        const f32v d = load_n(depth + u, m);
        Pairs dgrid{};
        if (dout.grid) dgrid = load_pairs(dout.grid.as<float>() + 2 * (at + u), m);
        const f32v dz = dout.z ? load_n(dout.z.as<float>() + at + u, m) : f32v{};
        const PointGradient g(p, rays, Projected(p, rays, d), dgrid.a, dgrid.b, dz);
        if (grad.depth) store_n(grad.depth.as<float>() + at + u, g.depth, m);
        sums.add(u, rays, d, g);
      });
      pose_sums.store_row(n, v, sums);
    }
  });
  if (!grad.pose) return;
  ctx.parallel(in.depth.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; n++)
      pose_sums.finish(n, Projections(in.camera, in.to_camera, in.pose)(n), grad.pose.as<float>() + 12 * n);
  });
}

}  // namespace dr
