#include "kernels/depth_warp/depth_warp.h"

#include <vector>

#include "kernels/project_depth/projection_ref.h"

namespace dr {

// A pixel of the new view is undecided where a source may or may not land on it, within the error of its point, or
// where two sources are as near as the errors of their z. Elsewhere y is a copy and z is off by what project_ref says.
void DepthWarp::reference(const In& in, const Out& out, const Out& bound) const {
  const double u24 = 0x1p-24;
  const int64_t out_rows = rows(in), out_width = columns(in), channels = in.image.size(3);
  struct Landing {
    double z, e;
    int64_t v, u;
  };
  for (int64_t n = 0; n < in.depth.size(0); n++) {
    std::vector<std::vector<Landing>> landings(size_t(out_rows * out_width));
    std::vector<bool> undecided(landings.size());
    for (int64_t v = 0; v < in.depth.size(1); v++)
      for (int64_t u = 0; u < in.depth.size(2); u++) {
        const ProjectedRef p = project_ref(in.camera, in.to_camera, in.pose, n, u, v, in.depth.at<double>(n, v, u));
        if (!p.valid && p.decided) continue;
        const double x = p.x.v + 0.5, y = p.y.v + 0.5, ex = (p.x.e + std::fabs(x)) * u24,
                     ey = (p.y.e + std::fabs(y)) * u24;
        const double left = std::floor(x - ex), right = std::floor(x + ex), top = std::floor(y - ey),
                     bottom = std::floor(y + ey);
        const bool sure = p.valid && p.decided && left == right && top == bottom;
        for (int64_t j = 0; j < out_rows; j++)
          for (int64_t i = 0; i < out_width; i++) {
            if (!(double(i) >= left && double(i) <= right && double(j) >= top && double(j) <= bottom)) continue;
            if (sure) landings[size_t(j * out_width + i)].push_back({p.z.v, p.z.e * u24, v, u});
            else undecided[size_t(j * out_width + i)] = true;
          }
      }
    for (int64_t j = 0; j < out_rows; j++)
      for (int64_t i = 0; i < out_width; i++) {
        const auto& list = landings[size_t(j * out_width + i)];
        const Landing* best = nullptr;
        bool tie = undecided[size_t(j * out_width + i)];
        for (const Landing& l : list)
          if (!best || l.z < best->z) best = &l;
        for (const Landing& l : list) tie |= &l != best && l.z - l.e <= best->z + best->e;
        const double open = tie ? INFINITY : 0;
        for (int64_t c = 0; c < channels; c++) {
          out.y.at<double>(n, j, i, c) = best ? in.image.at<double>(n, best->v, best->u, c) : 0;
          bound.y.at<double>(n, j, i, c) = open;
        }
        out.mask.at<double>(n, j, i) = best != nullptr;
        bound.mask.at<double>(n, j, i) = undecided[size_t(j * out_width + i)] ? INFINITY : 0;
        out.z.at<double>(n, j, i) = best ? best->z : 0;
        bound.z.at<double>(n, j, i) = (best ? best->e / u24 : 0) + open;
        out.source.at<int32_t>(n, j, i) = best ? int32_t(best->v * in.depth.size(2) + best->u) : -1;
        bound.source.at<double>(n, j, i) = open;
      }
  }
}

}  // namespace dr
