#pragma once
// What a camera sees after its vehicle has moved, if the world were a level road and a far distance: the image moved by
// the motion alone. No depth is needed; whatever stands on the road is smeared along it.
//
// Each pixel of the new view looks at the road where its ray meets it within kRoadEndsM of the camera's plane, else at a
// point kRoadEndsM away; the old image is read there, its border pixel where the point lies outside.
// Source of the homography that a plane induces: Hartley & Zisserman 2004, section 13.1.

#include <span>

#include "io/log.h"
#include "runtime/runtime.h"

namespace dr::sim {

// As far as roads and what stands beside them are told apart at 2 m between frames. Measured on frames of 128 x 64 of
// the built-in world and of KITTI, in mean PSNR of the next frame: 16 m 20.1 and 21.2 dB, 25 m 22.4 and 22.8, 40 m 23.9
// and 23.4, 50 m 23.9 and 23.3, 200 m 22.5 and - .
inline constexpr double kRoadEndsM = 1000, kThingsM = 45;

// images (N,H,W,3) f32, each from its camera, of H x W pixels and a height above the road; motions: of each vehicle, the
// new pose seen from the old one. (N,H,W,3) f32. Deterministic, independent of N. Throws where a camera's height is not
// known, or the numbers of images, cameras and motions differ.
Tensor moved_on_level_road(Runtime& runtime, const Tensor& images, std::span<const CameraModel> cameras,
                           std::span<const Pose> motions);

}  // namespace dr::sim
