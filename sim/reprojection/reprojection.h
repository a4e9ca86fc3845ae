#pragma once
// The reprojective simulator: what a camera elsewhere would have seen, from one recorded frame and its depth.
//
//   sampled    each pixel with depth is projected into the other view, whose image is read there: how well depth and
//              poses explain a true image
//   splatted   each pixel with depth goes to the nearest pixel of the new view, where the nearest surface wins
//   pictured   what a policy is shown: the surface that each pixel of the new view sees, from depth that has no gaps,
//              the frame read where that surface was, and holes filled from around them
//
// Everything runs through ops, so results are the same bits for any number of threads.
// Known limits: the scene stands still; what the frame did not see is made up; reflections and exposure stay the
// frame's.
// Source: arXiv:2504.19077, section 3.

#include "io/log.h"
#include "runtime/runtime.h"

namespace dr::sim {

inline constexpr double kReprojectionRangeM = 4;  // further away, too much of the picture is made up

// Depth without gaps, for pictured; (1,H,W) f32 metres, anything but a finite number above 0 being a gap. The built-in
// world's gaps are its sky, which is put at 10 km. Others are filled by push_pull in inverse depth, which is linear on
// a plane; where nothing is near, that is a guess.
Tensor without_gaps(Runtime& runtime, const Tensor& depth, bool gaps_are_sky);

// The rows of (R | t) in camera axes, which take a point's coordinates in the moved camera's frame to those in the
// other's. `motion`: of the housing, whose axes are x forward, y right, z down.
std::array<float, 12> rigid_rows(const Pose& motion);

// Images are (1,H,W,3) f32 in [-1, 1], depth (1,H,W) f32 metres along the optical axis, gaps as above. `motion` is the
// new camera's pose in the frame of the old one, both in the axes of the housing: x forward, y right, z down.
class Reprojector {
 public:
  // Throws unless the camera's sides are 1 to 4096 pixels.
  Reprojector(Runtime& runtime, const CameraModel& camera);

  struct Warp {
    Tensor image, mask;  // mask (1,H,W) f32: 1 where there is something in the image
  };
  // The other image as seen from the pixels of the depth map; the mask's pixels lie between its outer pixel centres.
  Warp sampled(const Tensor& other, const Tensor& depth, const Pose& motion) const;
  Warp splatted(const Tensor& image, const Tensor& depth, const Pose& motion) const;

  struct Picture {
    Warp warp;      // with holes
    Tensor filled;  // without
  };
  Picture pictured(const Tensor& image, const Tensor& depth, const Pose& motion) const;

 private:
  Tensor intrinsics(int scale = 1) const;
  Tensor rigid(const Pose& motion) const;

  Runtime& runtime_;
  CameraModel camera_;
};

// How far two images are apart where the mask is 1, over the three channels, in levels of 0 to 255; NaN where it is 1
// nowhere.
struct Difference {
  double mean_abs = 0, mean_square = 0;
};
Difference difference(Runtime& runtime, const Tensor& a, const Tensor& b, const Tensor& mask);
double psnr_db(double mean_square);  // of levels
double coverage(Runtime& runtime, const Tensor& mask);  // the share of the view that it holds

}  // namespace dr::sim
