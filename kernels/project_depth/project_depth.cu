#include "kernels/project_depth/project_depth.h"

#include "kernels/project_depth/gpu_pose_sums.h"

#include "kernels/core/gpu_channels.h"

namespace dr {
namespace DR_BACKEND {
namespace {

// One pixel.
struct Project {
  Projections projections;
  Pixels<const float> depth;
  float *grid, *z;
  int64_t rows, width;

  DR_DEVICE void operator()(int64_t i) const {
    const PixelAt at = pixel_at(i, rows, width);
    const Projection p = projections(at.n);
    const Projected to(p, row_rays(p, at.j, at.i), *depth.at(at.n, at.i, at.j));
    grid[2 * i] = to.x, grid[2 * i + 1] = to.y;
    z[i] = to.z;
  }
};

// One row of pixels, by a group.
struct ProjectBackward {
  Projections projections;
  Pixels<const float> depth;
  const float *dgrid, *dz;  // null: zero
  float* ddepth;            // null: not wanted
  PoseSums pose_sums;
  int64_t width;

  DR_DEVICE void operator()(int64_t r) const {
    const int64_t n = r / pose_sums.rows, v = r % pose_sums.rows;
    const Projection p = projections(n);
    PoseSums::Lane lane;
    for (int64_t u = lane_index(); u < width; u += kGroup) {
      const int64_t i = r * width + u;
      const Rays rays = row_rays(p, u, v);
      const float d = *depth.at(n, v, u);
      const float gx = dgrid ? dgrid[2 * i] : 0.f, gy = dgrid ? dgrid[2 * i + 1] : 0.f, gz = dz ? dz[i] : 0.f;
      const PointGradient g(p, rays, Projected(p, rays, d), gx, gy, gz);
      if (ddepth) ddepth[i] = g.depth;
      lane.add(rays, d, g);
    }
    pose_sums.store_row(n, v, lane);
  }
};

}  // namespace
}  // namespace DR_BACKEND

using namespace DR_BACKEND;

template <>
void ProjectDepth::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  CHECK(out.grid.packed() && out.z.packed(), "project_depth: grid and z must be packed");
  for_each(ctx, in.depth.count(),
           Project{Projections(in.camera, in.to_camera, in.pose), pixels_of<const float>(in.depth), out.grid.as<float>(),
                   out.z.as<float>(), in.depth.size(1), in.depth.size(2)});
}

template <>
void ProjectDepth::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout,
                                      const Grad& grad) const {
  if (!grad.depth && !grad.pose) return;
  for (const View* v : {&dout.grid, &dout.z, &grad.depth, &grad.pose})
    CHECK(!*v || v->packed(), "project_depth: gradients must be packed");
  const Projections projections(in.camera, in.to_camera, in.pose);
  const PoseSums pose_sums(ctx, in.depth, 0);
  const auto data = [](const View& v) { return v ? v.as<float>() : nullptr; };
  for_rows(ctx, in.depth.size(0) * in.depth.size(1),
           ProjectBackward{projections, pixels_of<const float>(in.depth), data(dout.grid), data(dout.z), data(grad.depth),
                           pose_sums, in.depth.size(2)});
  if (grad.pose) pose_gradient(ctx, pose_sums, projections, grad.pose);
}

}  // namespace dr
