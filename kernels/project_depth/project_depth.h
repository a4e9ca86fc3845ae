#pragma once
// Where the point that a pixel sees at its depth appears in another camera.
//
//   depth (N,H,W) f32, metres along z; not in (0, inf): none    camera, to_camera (N,4) f32: fx, fy, cx, cy in pixels
//   pose (N,3,4) f32 = (R | t): p_to = R p + t, metres, camera axes x right, y down, z forward
//   grid (N,H,W,2) f32: (x, y) in the other camera's image, pixel centres at integers, as grid_sample takes it
//   z (N,H,W) f32: the depth there, metres
// Pixel (u, v) at depth d:
//   ray = ((u - cx) / fx, (v - cy) / fy, 1);  q_i = fma(R_i0, ray_x, fma(R_i1, ray_y, R_i2));  P_i = fma(d, q_i, t_i)
//   i = 1 / P_2;  a = P_0 i, b = P_1 i;  grid = (fma(fx', a, cx'), fma(fy', b, cy'));  z = P_2
// Where d is none, P_2 is not in (0, inf) or the grid is not finite, z = 0 and grid = (-inf, -inf), which grid_sample
// takes for outside; such a pixel has no gradient. A point may lie outside the other image: that is for the caller.
// backward, for gradients (gx, gy) and gz:
//   g_0 = (gx fx') i, g_1 = (gy fy') i, g_2 = fma(-g_1, b, fma(-g_0, a, gz))
//   ddepth = fma(gz, q_2, fma(g_0, c_0, g_1 c_1) i),  c_k = fma(q_k, t_2, -(q_2 t_k)), which is q_k P_2 - P_k q_2
//   without what cancels
//   dpose_ij = sum g_i d ray_j, dt_i = sum g_i: with m_i = g_i d, canonical row sums over u of m_i ray_x (by fma), m_i
//   and g_i; then canonical row sums over v of these, for j = 1 of ray_y times that of m_i (by fma)
// Cameras have no gradient.
// An absent output gradient is zero. Deterministic, independent of N. Throws if shapes differ, or H or W exceeds 4096.
// Source: Hartley & Zisserman 2004, chapter 6; Zhou et al. 2017, arXiv:1704.07813, equation 2.

#include <limits>

#include "kernels/project_depth/camera.h"

namespace dr {

struct ProjectDepth {
  static constexpr std::string_view name = "project_depth";

  struct In {
    View depth, camera, to_camera, pose;
    static constexpr auto names = fields("depth", "camera", "to_camera", "pose");
  };
  struct Out { View grid, z; static constexpr auto names = fields("grid", "z"); };
  struct OutGrad { View grid, z; static constexpr auto names = fields("grid", "z"); };
  struct Grad { View depth, pose; static constexpr auto names = fields("depth", "pose"); };

  Shapes infer(const In& in) const {
    expect_cameras(in.depth, in.camera, in.to_camera, in.pose, name);
    const int64_t n = in.depth.size(0), h = in.depth.size(1), w = in.depth.size(2);
    return {{DType::f32, {n, h, w, 2}}, {DType::f32, {n, h, w}}};
  }
  size_t scratch_bytes(const In& in, int) const { return pose_sums_bytes(in.depth); }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // 16 roundings from the ray to g; dpose: a lane of each of two row sums, a butterfly each. Terms are those of x, y
  // and z; 16 times as much where P_0 or P_1 cancels and the harness has a sixteenth of the mean to measure by.
  double gradient_k(const In& in) const {
    return 16 * 16 + double(in.depth.size(1) + in.depth.size(2)) / 32 + 12;
  }
  Cost cost(const In& in) const { return traffic(25.0 * double(in.depth.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const { return backward_traffic(60.0 * double(in.depth.count()), in, infer(in)); }

  static std::vector<Case<ProjectDepth>> cases() {
    auto make = [](int64_t n, int64_t h, int64_t w, double nearest, int64_t pad = 0) {
      const std::string name = format("N={},H={},W={},depth>{}{}", n, h, w, nearest, pad ? ",strided" : "");
      return Case<ProjectDepth>({}, {.name = name,
                                     .in = {uniform({n, h, w}, nearest, 12).padded(pad), camera_case(n, h, w),
                                            camera_case(n, h + 2, w + 3), pose_case(n)},
                                     .samples = int(std::max<int64_t>(1, n)),
                                     .gradient = nearest > 0});
    };
    std::vector<Case<ProjectDepth>> list;
    list.push_back(make(3, 5, 7, 2));
    list.push_back(make(2, 7, 33, 1, 5));
    list.push_back(make(1, 1, 1, 3));
    list.push_back(make(2, 31, 5, -4));  // a quarter of the pixels have no depth
    list.push_back(make(0, 5, 7, 2));
    list.push_back(make(2, 0, 7, 2));
    list.back().gradient = false;  // zeros
    {
      Case<ProjectDepth> c = make(2, 5, 8, -1);
      c.name = "adversarial," + c.name;
      const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
      c.in[0] = values({2, 5, 8}, {nan, 1, inf, 2, -inf, 3, 0, -0.0, 1e-30, 1e30, 3e38, -3e38, 0.25, 80});
      c.in[3] = values({2, 3, 4}, {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, -1.5,              // a step forward
                                   -1, 0, 0, 1e20, 0, 1, 0, -1e20, 0, 0, -1, 1e-20});  // turned about
      list.push_back(c);
    }
    {
      Case<ProjectDepth> c = make(8, 128, 256, 2);
      c.bench = true;
      list.push_back(c);
    }
    return list;
  }

  // ---- for the cases of inverse_warp and depth_warp too ----

  // Depths of 1.5 to 7 m, so that the point's rounding stays a few units; every ninth pixel has none.
  static Input depth_case(int64_t n, int64_t h, int64_t w) {
    std::vector<double> list;
    uint32_t state = 4711;
    for (int64_t i = 0; i < n * h * w; i++) {
      state = state * 1664525u + 1013904223u;
      list.push_back(i % 9 == 4 ? double(i % 2) - 1 : 1.5 + 5.5 * double(state >> 8) * 0x1p-24);
    }
    return values({n, h, w}, list);
  }
  // A camera of about 80 degrees for an image of H x W, no two alike.
  static Input camera_case(int64_t n, int64_t h, int64_t w) {
    std::vector<double> list;
    for (int64_t i = 0; i < std::max<int64_t>(1, n); i++) {
      const double f = 0.6 * double(w) * (1 + 0.05 * double(i % 3));
      for (double k : {f, 1.02 * f, 0.5 * double(w) - 0.62, 0.5 * double(h) - 0.43}) list.push_back(k);
    }
    return values({n, 4}, list);
  }
  // A few degrees of turn and some decimetres of way; orthogonal but for rounding is not asked for.
  static Input pose_case(int64_t n) {
    std::vector<double> list;
    for (int64_t i = 0; i < std::max<int64_t>(1, n); i++) {
      const double s = 0.5 + 0.25 * double(i % 4), a = 0.031 * s, b = -0.047 * s, c = 0.023 * s;
      for (double k : {1 - (a * a + b * b) / 2, -a, b, 0.31 * s, a, 1 - (a * a + c * c) / 2, -c, -0.17 * s, -b, c,
                       1 - (b * b + c * c) / 2, -0.43 * s})
        list.push_back(k);
    }
    return values({n, 3, 4}, list);
  }
};

}  // namespace dr
