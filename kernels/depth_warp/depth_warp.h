#pragma once
// An image with depth seen from another camera: every pixel goes to the nearest pixel of the new view, and the nearest
// surface wins (forward splat with a z-buffer).
//
//   image (N,H,W,C) f32|bf16, any strides but the last axis
//   depth (N,H,W) f32, camera (N,4), to_camera (N,4), pose (N,3,4): as in project_depth, which gives each pixel its
//   point (x, y) in the new view and its depth z there
//   height, width: OH, OW of the new view; 0 stands for the image's
//   y (N,OH,OW,C) like image, packed; 0 where nothing landed       mask (N,OH,OW) f32: 1 where something landed, else 0
//   z (N,OH,OW) f32: depth in the new view, metres; 0: none         source (N,OH,OW) i32: winning pixel v W + u, or -1
// A pixel lands on (floor(x + 0.5), floor(y + 0.5)), the sums in fp32, where it is valid in project_depth and
// 0 <= x + 0.5 < OW, 0 <= y + 0.5 < OH; tested before anything becomes an integer. Of those that land on one pixel the
// smallest z wins, then the smallest source: the minimum of (bits of z, v, u) as one integer, so order cannot matter.
// backward: which pixel wins where is piecewise constant, so geometry has a gradient through z alone, and the image
// through the winners. Photometric losses want inverse_warp.
//   dimage[source] = dy of the pixel that it won, else 0
//   ddepth[source] = dz q_2 of the pixel that it won, else 0        dpose: rows 0 and 1 are 0;
//   dR_2j = sum m ray_j, dt_2 = sum dz, m = dz depth[source]: canonical row sums over each row of the new view (m ray_x
//   and m ray_y by fma; +0 where nothing landed), then canonical row sums over the rows
// An absent output gradient is zero. Deterministic, independent of N. Throws if shapes differ or a side exceeds 4096.
// Source: Catmull 1974 (z-buffer); arXiv:2504.19077, section 3, for its use; holes are for others to fill.

#include "kernels/grid_sample/image.h"
#include "kernels/project_depth/project_depth.h"

namespace dr {

struct DepthWarp {
  static constexpr std::string_view name = "depth_warp";
  int64_t height = 0, width = 0;

  struct In {
    View image, depth, camera, to_camera, pose;
    static constexpr auto names = fields("image", "depth", "camera", "to_camera", "pose");
  };
  struct Out {
    View y, mask, z, source;
    static constexpr auto names = fields("y", "mask", "z", "source");
  };
  struct OutGrad { View y, z; static constexpr auto names = fields("y", "z"); };
  struct Grad { View image, depth, pose; static constexpr auto names = fields("image", "depth", "pose"); };

  int64_t rows(const In& in) const { return height ? height : in.depth.size(1); }
  int64_t columns(const In& in) const { return width ? width : in.depth.size(2); }

  Shapes infer(const In& in) const {
    expect_float(in.image, "depth_warp: image");
    expect_cameras(in.depth, in.camera, in.to_camera, in.pose, name);
    const int64_t n = in.depth.size(0), h = rows(in), w = columns(in);
    CHECK(in.image.rank() == 4 && in.image.size(0) == n && in.image.size(1) == in.depth.size(1) &&
              in.image.size(2) == in.depth.size(2),
          "depth_warp: image must be ({},{},{},C) like depth, got {}", n, in.depth.size(1), in.depth.size(2),
          to_string(in.image));
    CHECK(h >= 0 && h <= kMaxDepthSide && w >= 0 && w <= kMaxDepthSide,
          "depth_warp: height and width must be 0 to {}, got {} and {}", kMaxDepthSide, height, width);
    return {{in.image.dtype, {n, h, w, in.image.size(3)}}, {DType::f32, {n, h, w}}, {DType::f32, {n, h, w}},
            {DType::i32, {n, h, w}}};
  }
  // Buffers for z of one image each, or of a part of one where images are few; or sums for the pose.
  size_t scratch_bytes(const In& in, int threads) const {
    const int64_t n = in.depth.size(0), cut = parts(n, threads),
                  buffers = cut == 1 ? std::min<int64_t>(n, threads) : n * cut;
    const size_t z = size_t(buffers) * size_t(buffer_elements(in)) * sizeof(uint64_t);
    return std::max(z, size_t(n * rows(in) * 4) * sizeof(float));
  }
  size_t device_scratch_bytes(const In& in) const {  // a buffer for z of all images; or sums for the pose
    const int64_t n = in.depth.size(0), h = rows(in);
    return std::max(size_t(n * h * columns(in)) * sizeof(uint64_t), size_t(n * h * 4) * sizeof(float));
  }
  // Parts that an image's pixels are cut into; each has a buffer of its own, and their minimum is taken.
  static int64_t parts(int64_t n, int threads) {
    return threads == 1 || n >= 2 * threads || n == 0 ? 1 : (2 * threads + n - 1) / n;
  }
  int64_t buffer_elements(const In& in) const { return (rows(in) * columns(in) + 8) / 8 * 8; }  // one to spare at least

  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;

  // dimage is a copy; ddepth 4 roundings of q_2 and a product, which may cancel in q_2: 16 times as much; dpose two row
  // sums as well.
  double gradient_k(const In& in) const { return 16 * 6 + double(rows(in) + columns(in)) / 32 + 12; }
  Cost cost(const In& in) const { return traffic(35.0 * double(in.depth.count()), in, infer(in)); }
  Cost backward_cost(const In& in) const {
    return backward_traffic(20.0 * double(in.depth.size(0) * rows(in) * columns(in)), in, infer(in));
  }

  static std::vector<Case<DepthWarp>> cases() {
    struct Shape { int64_t n, h, w, c, oh, ow; };
    auto make = [](Shape s, DType t = DType::f32, int64_t pad = 0) {
      return Case<DepthWarp>({s.oh, s.ow},
                             {.name = format("N={},H={},W={},C={},OH={},OW={},{}{}", s.n, s.h, s.w, s.c, s.oh, s.ow,
                                             name_of(t), pad ? ",strided" : ""),
                              .in = {normal({s.n, s.h, s.w, s.c}).as(t).padded(pad),
                                     ProjectDepth::depth_case(s.n, s.h, s.w),
                                     ProjectDepth::camera_case(s.n, s.h, s.w),
                                     ProjectDepth::camera_case(s.n, s.oh ? s.oh : s.h, s.ow ? s.ow : s.w),
                                     ProjectDepth::pose_case(s.n)},
                              .samples = int(std::max<int64_t>(1, s.n))});
    };
    std::vector<Case<DepthWarp>> list;
    list.push_back(make({3, 5, 7, 3, 0, 0}));
    list.push_back(make({2, 7, 5, 1, 5, 9}));
    list.push_back(make({2, 6, 9, 33, 4, 7}));
    list.push_back(make({1, 9, 11, 4, 4, 3}));  // many pixels on one
    list.push_back(make({1, 5, 7, 2, 31, 33}));  // most pixels empty
    list.push_back(make({2, 5, 7, 3, 0, 0}, DType::bf16));
    list.push_back(make({5, 5, 6, 7, 4, 5}, DType::bf16, 3));
    list.push_back(make({2, 5, 7, 5, 3, 5}, DType::f32, 1));
    list.push_back(make({0, 5, 7, 3, 0, 0}));
    {
      Case<DepthWarp> c = make({2, 9, 8, 3, 0, 0});
      c.name = "adversarial," + c.name;
      c.in[0] = adversarial(c.in[0].sizes);
      const double nan = std::numeric_limits<double>::quiet_NaN();
      c.in[1] = values(c.in[1].sizes, {nan, 1, 3e38, 2, 0, 3, -0.0, 1e-30, 1e30, -2, 80});
      c.gradient = false;  // depths beyond what differences resolve
      list.push_back(c);
    }
    {
      Case<DepthWarp> c = make({8, 128, 256, 3, 0, 0});
      c.in[1] = uniform(c.in[1].sizes, 2, 40);
      c.bench = true;
      list.push_back(c);
    }
    return list;
  }
};

}  // namespace dr
