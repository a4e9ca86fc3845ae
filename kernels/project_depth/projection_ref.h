#pragma once
// The projection in double, with a bound on how far fp32 may lie from it: each quantity carries its error in units of
// u = 2^-24, each operation passes its operands' errors on and adds the rounding of its result.

#include <cmath>

#include "kernels/core/view.h"

namespace dr {

struct Approx {
  double v, e = 0;
};
inline Approx rounded(double v, double e) { return {v, e + std::fabs(v) * (1 + 0x1p-20)}; }
inline Approx operator-(Approx a, Approx b) { return rounded(a.v - b.v, a.e + b.e); }
inline Approx operator*(Approx a, Approx b) {
  return rounded(a.v * b.v, std::fabs(a.v) * b.e + std::fabs(b.v) * a.e + a.e * b.e * 0x1p-24);
}
inline Approx operator/(Approx a, Approx b) {
  const double smallest = std::fabs(b.v) - b.e * 0x1p-24;
  return rounded(a.v / b.v, smallest > 0 ? (a.e + std::fabs(a.v / b.v) * b.e) / smallest : INFINITY);
}
inline Approx fused(Approx a, Approx b, Approx c) {
  const double e = std::fabs(a.v) * b.e + std::fabs(b.v) * a.e + a.e * b.e * 0x1p-24 + c.e;
  return rounded(a.v * b.v + c.v, e);
}

struct ProjectedRef {
  Approx x, y, z;
  bool valid = false;
  bool decided = true;  // that it is valid, or not
};

inline ProjectedRef project_ref(const View& camera, const View& to_camera, const View& pose, int64_t n, int64_t u,
                                int64_t v, double depth) {
  ProjectedRef r;
  if (!(depth > 0 && std::isfinite(depth))) return r;
  auto at = [&](const View& k, int i) { return Approx{k.at<double>(n, i)}; };
  const Approx one{1}, ray_x = (Approx{double(u)} - at(camera, 2)) / at(camera, 0),
               ray_y = (Approx{double(v)} - at(camera, 3)) / at(camera, 1);
  Approx p[3];
  for (int i = 0; i < 3; i++) {
    auto m = [&](int j) { return Approx{pose.at<double>(n, i, j)}; };
    p[i] = fused(Approx{depth}, fused(m(0), ray_x, fused(m(1), ray_y, m(2))), m(3));
  }
  const Approx inverse = one / p[2];
  r.z = p[2];
  r.x = fused(at(to_camera, 0), p[0] * inverse, at(to_camera, 2));
  r.y = fused(at(to_camera, 1), p[1] * inverse, at(to_camera, 3));
  const double huge = 3.4028234663852886e38;
  r.valid = r.z.v > 0 && r.z.v <= huge && std::fabs(r.x.v) <= huge && std::fabs(r.y.v) <= huge;
  r.decided = std::fabs(r.z.v) > r.z.e * 0x1p-24;
  return r;
}

}  // namespace dr
