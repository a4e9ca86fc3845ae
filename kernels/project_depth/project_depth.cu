#include "kernels/project_depth/project_depth.h"

#include "kernels/project_depth/gpu_projection.h"

namespace dr {

using namespace DR_BACKEND;

template <>
void ProjectDepth::forward<kBackend>(Context& ctx, const In& in, const Out& out) const {
  CHECK(out.grid.packed() && out.z.packed(), "project_depth: grid and z must be packed");
  project(ctx, Projections(in.camera, in.to_camera, in.pose), in.depth, out.grid.as<float>(), out.z.as<float>());
}

template <>
void ProjectDepth::backward<kBackend>(Context& ctx, const In& in, const Out&, const OutGrad& dout,
                                      const Grad& grad) const {
  if (!grad.depth && !grad.pose) return;
  for (const View* v : {&dout.grid, &dout.z, &grad.depth, &grad.pose})
    CHECK(!*v || v->packed(), "project_depth: gradients must be packed");
  project_backward(ctx, Projections(in.camera, in.to_camera, in.pose), in.depth,
                   dout.grid ? dout.grid.as<float>() : nullptr, dout.z ? dout.z.as<float>() : nullptr, grad.depth,
                   grad.pose);
}

}  // namespace dr
