#pragma once
// What a camera sees after its vehicle has moved, if the world were a level road with a distance behind it: the image,
// moved by the motion alone. No depth is needed; what stands on the road is smeared along it.
//
// A pixel below the horizon looks at the road, one above it at a wall kThingsM away. The old image is read where that
// point was seen, its border where it was not.
// Source of the homography that a plane induces: Hartley & Zisserman 2004, section 13.1.

#include <span>

#include "io/log.h"
#include "runtime/runtime.h"

namespace dr::sim {

inline constexpr double kRoadEndsM = 1000;  // along the optical axis
// What buildings and trees are taken to be at. With the road ending there too, the mean PSNR of the next frame at 5 Hz was,
// on 128 x 64 pixels of the built-in world's wide camera and 192 x 48 of KITTI: at 16 m 20.1 and 21.2 dB, 25 m 22.4 and
// 22.8, 40 m 23.9 and 23.4, 50 m 23.9 and 23.3; the last frame held 19.0 and 18.1. But rollouts need a road that goes on:
// the end of one at 45 m comes nearer with every frame.
inline constexpr double kThingsM = 45;

// What is road for sure: so far to either side of a vehicle, and so far ahead of it.
inline constexpr double kCorridorM = 6, kAheadM = 40;

struct MovedImage {
  Tensor image;  // (N,H,W,3) f32
  // (N,H,W) f32: 1 where the pixel looks at road that the old image shows, no further than kCorridorM to the side of
  // its vehicle and kAheadM ahead: beyond stands what is upright. Else 0.
  Tensor road;
};
// images (N,H,W,3) f32, each from its camera, of H x W pixels and a height above the road; motions: of each vehicle, the
// new pose seen from the old one. Deterministic, independent of N. Throws where a camera's height is not
// known, or the numbers of images, cameras and motions differ.
MovedImage moved_on_level_road(Runtime& runtime, const Tensor& images, std::span<const CameraModel> cameras,
                               std::span<const Pose> motions);

}  // namespace dr::sim
