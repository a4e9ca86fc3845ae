#include "kernels/inverse_warp/inverse_warp.h"

#include <algorithm>
#include <vector>

#include "kernels/project_depth/projection_ref.h"

namespace dr {

// The point is off by what project_ref says, e; the sample by 2 (ex + ey) + 16 of the largest pixel nearby, as in
// grid_sample (kernels/grid_sample/grid_sample_ref.cpp). Where e reaches a pixel, or the mask's edge, nothing is
// decided.
void InverseWarp::reference(const In& in, const Out& out, const Out& bound) const {
  const double u24 = 0x1p-24;
  const int64_t height = in.image.size(1), width = in.image.size(2), channels = in.image.size(3);
  const double last_x = double(width - 1), last_y = double(height - 1);
  for (int64_t n = 0; n < in.depth.size(0); n++)
    for (int64_t v = 0; v < in.depth.size(1); v++)
      for (int64_t u = 0; u < in.depth.size(2); u++) {
        double* const y = &out.y.at<double>(n, v, u, 0);
        double* const b = &bound.y.at<double>(n, v, u, 0);
        for (int64_t c = 0; c < channels; c++) y[c] = b[c] = 0;
        double& mask = out.mask.at<double>(n, v, u);
        double& mask_bound = bound.mask.at<double>(n, v, u);
        mask = mask_bound = 0;
        const ProjectedRef p = project_ref(in.camera, in.to_camera, in.pose, n, u, v, in.depth.at<double>(n, v, u));
        const double ex = p.x.e, ey = p.y.e;
        if (!p.decided || (p.valid && !(std::max(ex, ey) * u24 < 1))) {
          mask_bound = INFINITY;
          for (int64_t c = 0; c < channels; c++) b[c] = INFINITY;
          continue;
        }
        if (!p.valid) continue;
        const double edge_x = std::min(std::fabs(p.x.v), std::fabs(p.x.v - last_x)),
                     edge_y = std::min(std::fabs(p.y.v), std::fabs(p.y.v - last_y));
        mask = p.x.v >= 0 && p.x.v <= last_x && p.y.v >= 0 && p.y.v <= last_y;
        if (edge_x <= ex * u24 || edge_y <= ey * u24) mask_bound = INFINITY;
        const bool held = padding == Padding::border;
        const double x = held ? std::clamp(p.x.v, 0.0, last_x) : p.x.v;
        const double z = held ? std::clamp(p.y.v, 0.0, last_y) : p.y.v;
        if (x < -2 || x > last_x + 2 || z < -2 || z > last_y + 2) continue;
        for (int64_t i = int64_t(std::floor(z)) - 1; i <= int64_t(std::floor(z)) + 2; i++)
          for (int64_t j = int64_t(std::floor(x)) - 1; j <= int64_t(std::floor(x)) + 2; j++) {
            if (i < 0 || i >= height || j < 0 || j >= width) continue;
            const double wx = std::fmax(0, 1 - std::fabs(x - double(j))),
                         weight = wx * std::fmax(0, 1 - std::fabs(z - double(i)));
            for (int64_t c = 0; c < channels; c++) {
              const double pixel = in.image.at<double>(n, i, j, c);
              y[c] += weight * pixel;
              b[c] = std::max(b[c], (2 * (ex + ey) + 16) * std::fabs(pixel));
            }
          }
      }
}

// grid_sample's, with the largest error e of a point that falls on the image, then project_depth's.
double InverseWarp::gradient_k(const In& in) const {
  std::vector<double> wide[3];
  View views[3];
  for (int i = 0; i < 3; i++) {
    const View& v = i == 0 ? in.camera : i == 1 ? in.to_camera : in.pose;
    const int64_t per_sample = i < 2 ? 4 : 12;
    for (int64_t n = 0; n < v.size(0); n++)
      for (int64_t k = 0; k < per_sample; k++) wide[i].push_back(double(v.as<float>()[n * v.stride(0) + k]));
    views[i] = View(wide[i].data(), DType::f64, v.sizes);
  }
  double e = 0;
  for (int64_t n = 0; n < in.depth.size(0); n++)
    for (int64_t v = 0; v < in.depth.size(1); v++)
      for (int64_t u = 0; u < in.depth.size(2); u++) {
        const ProjectedRef p =
            project_ref(views[0], views[1], views[2], n, u, v, double(in.depth.at<float>(n, v, u)));
        if (p.valid && p.x.v > -1 && p.x.v < double(in.image.size(2)) && p.y.v > -1 && p.y.v < double(in.image.size(1)))
          e = std::max(e, p.x.e + p.y.e);
      }
  const double samples = double(in.depth.size(1) * in.depth.size(2)), channels = double(in.image.size(3));
  return samples + 64 * (1 + e) + 32 * (channels / 32 + 11 + e) + 16 * 16 +
         double(in.depth.size(1) + in.depth.size(2)) / 32 + 12;
}

}  // namespace dr
