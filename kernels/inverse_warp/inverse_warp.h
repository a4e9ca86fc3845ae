#pragma once
// An image seen from where a depth map is: each pixel of the map is projected into the image's camera and the image is
// sampled there. It is project_depth followed by grid_sample, bit for bit, without the grid in memory.
//
//   image (N,HI,WI,C) f32|bf16, any strides but the last axis
//   depth (N,H,W) f32, camera (N,4): of the view to be rendered    to_camera (N,4): of the image
//   pose (N,3,4) f32 = (R | t): from the view's camera to the image's    (all four as in project_depth)
//   y (N,H,W,C) like image, packed    mask (N,H,W) f32: 1 where the pixel projects to 0 <= x <= WI-1, 0 <= y <= HI-1 in
//   the image, so that all it was sampled from is there; else 0
//   padding: grid_sample's. Pixels without depth or behind the camera give y = 0, mask = 0.
// backward: dimage as grid_sample's dx; the gradient with respect to the grid goes through project_depth's backward to
// depth and pose. Image, depth and pose all learn from a photometric loss through it: this, and not the splat of
// depth_warp, is the differentiable warp. Deterministic, independent of N. Throws as project_depth and grid_sample do.
// Source: Zhou et al. 2017, arXiv:1704.07813, section 3.2; Jaderberg et al. 2015, arXiv:1506.02025.

#include "kernels/grid_sample/image.h"
#include "kernels/project_depth/project_depth.h"

namespace dr {

struct InverseWarp {
  static constexpr std::string_view name = "inverse_warp";
  Padding padding = Padding::zeros;

  struct In {
    View image, depth, camera, to_camera, pose;
    static constexpr auto names = fields("image", "depth", "camera", "to_camera", "pose");
  };
  struct Out { View y, mask; static constexpr auto names = fields("y", "mask"); };
  struct OutGrad { View y; static constexpr auto names = fields("y"); };
  struct Grad { View image, depth, pose; static constexpr auto names = fields("image", "depth", "pose"); };

  Shapes infer(const In& in) const {
    expect_image(in.image, "inverse_warp: image");
    expect_cameras(in.depth, in.camera, in.to_camera, in.pose, name);
    const int64_t n = in.depth.size(0), h = in.depth.size(1), w = in.depth.size(2);
    CHECK(in.image.size(0) == n, "inverse_warp: image has N={}, depth has N={}", in.image.size(0), n);
    return {{in.image.dtype, {n, h, w, in.image.size(3)}}, {DType::f32, {n, h, w}}};
  }
  // Sums for the pose; where the image is bf16, of a band of its rows for each thread.
  size_t scratch_bytes(const In& in, int threads) const {
    const size_t pose = (pose_sums_bytes(in.depth) + 63) / 64 * 64;
    return pose + (in.image.dtype == DType::bf16 ? row_bands(in.image, threads).sum_bytes(threads) : 0);
  }
  // Devices: sums for the pose; where pixels fall, and the gradients of that; the image's gradient.
  ScatterSize scatter_size(const In& in) const {
    return {in.depth.count(), in.image.size(0) * ScatterSize::cells_of(in.image.size(1), in.image.size(2))};
  }
  size_t device_scratch_bytes(const In& in) const {
    return pose_sums_bytes(in.depth) + 4 * size_t(in.depth.count()) * sizeof(float) + scatter_size(in).bytes();
  }
  template <Backend B> void forward(Context&, const In&, const Out&) const;
  template <Backend B> void backward(Context&, const In&, const Out& saved, const OutGrad&, const Grad&) const;
  void reference(const In&, const Out&, const Out& bound) const;
  double gradient_k(const In&) const;

  Cost cost(const In& in) const {
    return traffic(double(in.depth.count()) * (45 + 7.0 * double(in.image.size(3))), in, infer(in));
  }
  Cost backward_cost(const In& in) const {
    return backward_traffic(double(in.depth.count()) * (130 + 16.0 * double(in.image.size(3))), in, infer(in));
  }

  static std::vector<Case<InverseWarp>> cases() {
    struct Shape { int64_t n, hi, wi, c, h, w; };
    auto make = [](Padding padding, Shape s, DType t = DType::f32, int64_t pad = 0) {
      return Case<InverseWarp>({padding},
                               {.name = format("N={},HI={},WI={},C={},H={},W={},{}{}{}", s.n, s.hi, s.wi, s.c, s.h, s.w,
                                               name_of(t), padding == Padding::border ? ",border" : "",
                                               pad ? ",strided" : ""),
                                .in = {normal({s.n, s.hi, s.wi, s.c}).as(t).padded(pad),
                                       ProjectDepth::depth_case(s.n, s.h, s.w),
                                       ProjectDepth::camera_case(s.n, s.h, s.w),
                                       ProjectDepth::camera_case(s.n, s.hi, s.wi), ProjectDepth::pose_case(s.n)},
                                .samples = int(std::max<int64_t>(1, s.n))});
    };
    std::vector<Case<InverseWarp>> list;
    list.push_back(make(Padding::zeros, {3, 5, 7, 3, 5, 7}));
    list.push_back(make(Padding::border, {2, 7, 5, 1, 5, 9}));
    list.push_back(make(Padding::zeros, {2, 6, 9, 33, 4, 7}));
    list.push_back(make(Padding::border, {1, 5, 8, 4, 3, 31}));
    list.push_back(make(Padding::zeros, {2, 5, 7, 3, 5, 7}, DType::bf16));
    list.push_back(make(Padding::zeros, {1, 5, 6, 7, 4, 5}, DType::bf16, 3));
    list.push_back(make(Padding::border, {2, 5, 7, 5, 3, 5}, DType::f32, 1));
    list.push_back(make(Padding::zeros, {0, 5, 7, 3, 5, 7}));
    list.push_back(make(Padding::zeros, {2, 5, 7, 3, 0, 7}));
    list.back().gradient = false;  // zeros
    {
      Case<InverseWarp> c = make(Padding::zeros, {2, 9, 8, 3, 5, 8});
      c.name = "adversarial," + c.name;
      c.in[0] = adversarial(c.in[0].sizes);
      const double nan = std::numeric_limits<double>::quiet_NaN();
      c.in[1] = values(c.in[1].sizes, {nan, 1, 3e38, 2, 0, 3, -0.0, 1e-30, 1e30, -2, 80});
      c.gradient = false;  // depths beyond what differences resolve
      list.push_back(c);
    }
    {
      Case<InverseWarp> c = make(Padding::zeros, {8, 128, 256, 3, 128, 256});
      c.in[1] = uniform(c.in[1].sizes, 2, 40);
      c.bench = true;
      list.push_back(c);
    }
    return list;
  }
};

}  // namespace dr
