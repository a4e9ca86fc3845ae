#include "kernels/project_depth/project_depth.h"

#include "kernels/project_depth/projection_ref.h"

namespace dr {

void ProjectDepth::reference(const In& in, const Out& out, const Out& bound) const {
  for (int64_t n = 0; n < in.depth.size(0); n++)
    for (int64_t v = 0; v < in.depth.size(1); v++)
      for (int64_t u = 0; u < in.depth.size(2); u++) {
        const ProjectedRef p =
            project_ref(in.camera, in.to_camera, in.pose, n, u, v, in.depth.at<double>(n, v, u));
        const double undecided = p.decided ? 0 : INFINITY;
        out.grid.at<double>(n, v, u, 0) = p.valid ? p.x.v : -INFINITY;
        out.grid.at<double>(n, v, u, 1) = p.valid ? p.y.v : -INFINITY;
        out.z.at<double>(n, v, u) = p.valid ? p.z.v : 0;
        bound.grid.at<double>(n, v, u, 0) = p.valid ? p.x.e + undecided : undecided;
        bound.grid.at<double>(n, v, u, 1) = p.valid ? p.y.e + undecided : undecided;
        bound.z.at<double>(n, v, u) = p.valid ? p.z.e + undecided : undecided;
      }
}

}  // namespace dr
